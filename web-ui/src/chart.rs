//! Charts without a browser: points joined into spans, spans turned into what is drawn, and the axes beside them.

pub mod draw;
pub mod palette;
pub mod scale;
pub mod span;
pub mod ticks;
pub mod track;
