//! Which rows of a long list are on the screen: all rows have one height, only those near the view are in the document.
//!
//! Browsers cut elements at some 16 to 33 million pixels. A longer list is squeezed: the scroll bar then moves over
//! the list in larger steps, while the rows on the screen keep their height and follow each other without gaps.

/// The tallest element that every browser lays out.
pub const TALLEST_PX: f64 = 15_000_000.0;

/// What is scrolled, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct View {
    /// How far the list's top lies above the view's top; negative while the list begins below it.
    pub scrolled_px: f64,
    /// The view's height.
    pub height_px: f64,
}

/// The rows to draw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Window {
    /// Number of the first row.
    pub first: u64,
    /// The row after the last.
    pub end: u64,
    /// Where the first row begins, from the list's top.
    pub offset_px: f64,
    /// The list's height.
    pub height_px: f64,
}

impl Window {
    /// The rows in view and `spare` more on either side.
    pub fn of(view: View, rows: u64, row_px: f64, spare: u64) -> Self {
        let full = rows as f64 * row_px;
        let height_px = full.min(TALLEST_PX);
        // What the scroll bar can travel, and what the list would travel unsqueezed.
        let travel = (height_px - view.height_px).max(0.0);
        let full_travel = (full - view.height_px).max(0.0);
        let squeeze = if travel > 0.0 { full_travel / travel } else { 1.0 };
        let scrolled = view.scrolled_px.clamp(0.0, travel);
        let virtual_px = scrolled * squeeze;
        let top = (virtual_px / row_px) as u64;
        let first = top.saturating_sub(spare);
        let visible = (view.height_px.max(0.0) / row_px).ceil() as u64 + 1;
        let end = top.saturating_add(visible).saturating_add(spare).min(rows);
        let offset_px = scrolled - (virtual_px - first as f64 * row_px);
        Self { first: first.min(end), end, offset_px, height_px }
    }
}

/// Where to scroll so that `row` stands in the middle of the view.
pub fn scroll_to_row(row: u64, view_px: f64, rows: u64, row_px: f64) -> f64 {
    let full = rows as f64 * row_px;
    let travel = (full.min(TALLEST_PX) - view_px).max(0.0);
    let full_travel = (full - view_px).max(1.0);
    let wanted = row as f64 * row_px - (view_px - row_px) / 2.0;
    (wanted.clamp(0.0, full_travel) * travel / full_travel).clamp(0.0, travel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(scrolled_px: f64) -> View {
        View { scrolled_px, height_px: 100.0 }
    }

    #[test]
    fn only_what_is_seen_is_drawn() {
        let window = Window::of(view(1000.0), 100_000, 20.0, 5);
        assert_eq!((window.first, window.end), (45, 61));
        assert_eq!(window.offset_px, 900.0);
        assert_eq!(window.height_px, 2_000_000.0);
    }

    #[test]
    fn a_short_list_is_drawn_whole() {
        assert_eq!((Window::of(view(0.0), 3, 20.0, 5).first, Window::of(view(0.0), 3, 20.0, 5).end), (0, 3));
        assert_eq!(Window::of(view(-500.0), 0, 20.0, 5), Window::default());
    }

    #[test]
    fn scrolling_past_the_end_shows_the_end() {
        let window = Window::of(view(1e12), 1_000, 20.0, 0);
        assert_eq!(window.end, 1_000);
        assert!(window.first <= 995);
    }

    #[test]
    fn a_list_taller_than_the_browser_can_be_reaches_its_last_row() {
        let rows = 50_000_000;
        let top = Window::of(view(0.0), rows, 20.0, 3);
        assert_eq!(top.first, 0);
        assert_eq!(top.height_px, TALLEST_PX);
        let bottom = Window::of(view(TALLEST_PX - 100.0), rows, 20.0, 3);
        assert_eq!(bottom.end, rows);
        let last_row_ends = bottom.offset_px + (rows - bottom.first) as f64 * 20.0;
        assert!((last_row_ends - TALLEST_PX).abs() < 1e-3, "{last_row_ends}");
    }

    #[test]
    fn a_row_can_be_found_again() {
        for rows in [10, 1_000, 100_000_000] {
            for row in [0, rows / 3, rows - 1] {
                let scrolled_px = scroll_to_row(row, 100.0, rows, 20.0);
                let window = Window::of(view(scrolled_px), rows, 20.0, 0);
                assert!((window.first..window.end).contains(&row), "row {row} of {rows}: {window:?}");
            }
        }
    }
}
