//! The bridge to the plot in `js/chart.ts`: Rust decides what is drawn and where the axes are marked, uPlot draws.

use wasm_bindgen::prelude::*;
use web_sys::HtmlElement;

use crate::chart::draw::Drawing;
use crate::chart::ticks::ticks;
use crate::state::format;

#[wasm_bindgen(module = "@neptune/js/chart")]
extern "C" {
    #[wasm_bindgen(js_name = Plot)]
    type JsPlot;

    #[wasm_bindgen(constructor, js_class = "Plot")]
    fn new(
        root: &HtmlElement,
        labels: Vec<String>,
        colours: &[u32],
        dots: &[u32],
        zoomed: &JsValue,
        reset: &JsValue,
        ticks: &JsValue,
        text: &JsValue,
    ) -> JsPlot;

    #[wasm_bindgen(method)]
    fn draw(
        this: &JsPlot,
        x: &[f64],
        columns: &[f64],
        ranges: &[f64],
        flags: &[u32],
        marks: &[f64],
        marked: &[u32],
    );

    #[wasm_bindgen(method, getter)]
    fn width(this: &JsPlot) -> f64;

    #[wasm_bindgen(method)]
    fn destroy(this: &JsPlot);
}

/// One series, as the plot needs to know it before there is data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// In the readout.
    pub label: String,
    /// Number in the palette.
    pub colour: usize,
    /// Points alone instead of a line.
    pub dots: bool,
}

/// A plot in an element; ends with it.
pub struct Plot {
    plot: JsPlot,
    series: usize,
    _zoomed: Closure<dyn Fn(f64, f64)>,
    _reset: Closure<dyn Fn()>,
    _ticks: Closure<dyn Fn(f64, f64, usize, bool) -> js_sys::Array>,
    _text: Closure<dyn Fn(f64) -> String>,
}

impl Plot {
    /// Puts an empty plot into an element. `zoomed` is told the range that was dragged, `reset` of a double click.
    pub fn new(
        root: &HtmlElement,
        looks: &[Look],
        zoomed: impl Fn(f64, f64) + 'static,
        reset: impl Fn() + 'static,
    ) -> Self {
        let zoomed = Closure::new(zoomed);
        let reset = Closure::new(reset);
        let ticks = Closure::new(marks_of_axis);
        let text = Closure::new(format::number);
        let labels = looks.iter().map(|look| look.label.clone()).collect();
        let colours: Vec<_> = looks.iter().map(|look| look.colour as u32).collect();
        let dots: Vec<_> = looks.iter().map(|look| u32::from(look.dots)).collect();
        let plot = JsPlot::new(
            root,
            labels,
            &colours,
            &dots,
            zoomed.as_ref(),
            reset.as_ref(),
            ticks.as_ref(),
            text.as_ref(),
        );
        Self { plot, series: looks.len(), _zoomed: zoomed, _reset: reset, _ticks: ticks, _text: text }
    }

    /// Width of the drawing in CSS pixels: how many buckets are worth asking for.
    pub fn width(&self) -> usize {
        self.plot.width() as usize
    }

    /// Draws; a drawing of another number of series than the plot was made for is passed over.
    pub fn draw(&self, drawing: &Drawing) {
        if drawing.series.len() != self.series {
            return;
        }
        let (Some(x), Some(y)) = (drawing.x_range, drawing.y_range) else {
            self.plot.draw(&[], &[], &[], &[], &[], &[]);
            return;
        };
        let columns: Vec<f64> = drawing
            .series
            .iter()
            .flat_map(|drawn| [&drawn.line, &drawn.low, &drawn.high])
            .flatten()
            .copied()
            .collect();
        let mut flags = vec![u32::from(drawing.whole_x)];
        flags.extend(drawing.series.iter().map(|drawn| u32::from(drawn.banded)));
        let marks = &drawing.marks;
        let places: Vec<f64> =
            [&marks.nan, &marks.above, &marks.below].into_iter().flatten().copied().collect();
        let marked = [marks.nan.len() as u32, marks.above.len() as u32, marks.below.len() as u32];
        self.plot.draw(&drawing.x, &columns, &[x.min, x.max, y.min, y.max], &flags, &places, &marked);
    }
}

impl Drop for Plot {
    fn drop(&mut self) {
        self.plot.destroy();
    }
}

/// `[values, labels]`
fn marks_of_axis(min: f64, max: f64, at_most: usize, whole: bool) -> js_sys::Array {
    let marks = ticks(min, max, at_most, whole);
    let values: js_sys::Array = marks.values.into_iter().map(JsValue::from).collect();
    let labels: js_sys::Array = marks.labels.into_iter().map(JsValue::from).collect();
    js_sys::Array::of2(&values, &labels)
}
