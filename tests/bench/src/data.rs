//! What is sent: points and lines as training makes them, each a function of its number, so that any of them is known again.
//!
//! Ramps and constants pack to nothing and flatter every figure. [`Shape::Noisy`] is a loss as f32 arithmetic makes it, at
//! times that tremble by tens of microseconds; row 9 stores the same points that rows 1 to 3 send.

use std::sync::Arc;

use neptune_wire::SessionId;
use neptune_wire::frame::FrameBuilder;

/// Different noise before it repeats: more than one sealed chunk or compression window sees.
const NOISE: usize = 1 << 18;
/// Between two points of a channel.
const STEP_MICROS: i64 = 1_000;
/// Times are off by at most so much.
const JITTER_MICROS: f64 = 50.0;
/// When the first point was made; any time of this century will do.
const FIRST_MICROS: i64 = 1_790_000_000_000_000;
/// Bytes of a log line, line feed included.
pub(crate) const LINE_BYTES: usize = 100;

/// How the values of a channel run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Born as f32: a falling loss with a tenth of noise; times tremble.
    Noisy,
    /// Born as f32: a slow sine; times are regular.
    Smooth,
}

/// Noise that all clients share.
#[derive(Debug, Clone)]
pub(crate) struct Noise(Arc<[(f32, i64)]>);

impl Noise {
    /// Makes it; always the same.
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        // Twelve uniform numbers add up to a good enough bell.
        let mut bell = move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let pairs = (0..NOISE).map(|_| (bell() as f32, (bell() / 3.0 * JITTER_MICROS) as i64));
        Self(pairs.collect())
    }

    fn at(&self, channel: u32, number: u64) -> (f32, i64) {
        // Channels do not begin at the same place.
        self.0[(number as usize).wrapping_add(channel as usize * 7_919) % NOISE]
    }
}

/// What a client sends: its next frame, until it has nothing more.
pub(crate) trait Source: Send + 'static {
    /// A frame with this number, and how many points it holds; None at the end.
    fn frame(&mut self, session: SessionId, seq: u64) -> Option<(Vec<u8>, u64)>;
}

/// Numeric channels, numbered from 0, filled one block after another.
#[derive(Debug)]
pub(crate) struct Numbers {
    noise: Noise,
    shape: Shape,
    /// Points of each channel so far.
    sent: Vec<u64>,
    /// Points of one block.
    block: u64,
    /// Blocks of one frame, fewer when it is full.
    blocks: usize,
    /// Points of each channel at the end.
    limit: u64,
    /// The point that stands out.
    spike: Option<(u64, f64)>,
    next: usize,
    columns: Columns,
}

#[derive(Debug, Default)]
struct Columns {
    x: Vec<f64>,
    y: Vec<f64>,
    time: Vec<i64>,
}

impl Numbers {
    /// Frames of at most `blocks` blocks of `block` points each, from `channels` channels in turn.
    pub(crate) fn new(noise: &Noise, shape: Shape, channels: usize, block: usize, blocks: usize) -> Self {
        Self {
            noise: noise.clone(),
            shape,
            sent: vec![0; channels],
            block: block as u64,
            blocks,
            limit: u64::MAX,
            spike: None,
            next: 0,
            columns: Columns::default(),
        }
    }

    /// Ends when each channel has so many points.
    pub(crate) fn up_to(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Gives the point of this number another value.
    pub(crate) fn with_spike(self, number: u64, value: f64) -> Self {
        Self { spike: Some((number, value)), ..self }
    }

    /// The next channel in turn that is not at its limit.
    fn unfilled(&self) -> Option<usize> {
        let count = self.sent.len();
        (self.next..self.next + count).map(|i| i % count).find(|channel| self.sent[*channel] < self.limit)
    }

    fn value(&self, channel: u32, number: u64) -> (f64, i64) {
        let time = FIRST_MICROS + number as i64 * STEP_MICROS;
        if let Some((spike, value)) = self.spike
            && spike == number
        {
            return (value, time);
        }
        match self.shape {
            Shape::Smooth => (f64::from((number as f64 * 0.001).sin() as f32), time),
            Shape::Noisy => {
                let (noise, jitter) = self.noise.at(channel, number);
                let loss = 0.2 + 2.0 / (1.0 + number as f32 * 1e-4);
                (f64::from(loss * (1.0 + 0.1 * noise)), time + jitter)
            }
        }
    }

    fn fill(&mut self, channel: usize, count: u64) {
        let from = self.sent[channel];
        let mut columns = std::mem::take(&mut self.columns);
        columns.x.clear();
        columns.y.clear();
        columns.time.clear();
        for number in from..from + count {
            let (y, time) = self.value(channel as u32, number);
            columns.x.push(number as f64);
            columns.y.push(y);
            columns.time.push(time);
        }
        self.columns = columns;
    }
}

impl Source for Numbers {
    fn frame(&mut self, session: SessionId, seq: u64) -> Option<(Vec<u8>, u64)> {
        let mut frame = FrameBuilder::new(session, seq);
        let mut points = 0;
        for _ in 0..self.blocks {
            let Some(channel) = self.unfilled() else { break };
            let count = self.block.min(self.limit - self.sent[channel]);
            self.fill(channel, count);
            let Columns { x, y, time } = &self.columns;
            let taken = frame.push_numeric(channel as u32, x, y, time) as u64;
            if taken == 0 {
                break;
            }
            self.sent[channel] += taken;
            points += taken;
            self.next = (channel + 1) % self.sent.len();
        }
        (points > 0).then(|| (frame.finish(), points))
    }
}

/// The lines of a program's standard output, as the channel of number 0.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Lines of one frame.
    lines: usize,
    sent: u64,
    text: Vec<u8>,
}

impl Lines {
    /// So many lines a frame.
    pub(crate) fn new(lines: usize) -> Self {
        Self { lines, sent: 0, text: Vec::new() }
    }
}

impl Source for Lines {
    fn frame(&mut self, session: SessionId, seq: u64) -> Option<(Vec<u8>, u64)> {
        let offset = self.sent * LINE_BYTES as u64;
        self.text.clear();
        for _ in 0..self.lines {
            write_line(&mut self.text, self.sent);
            self.sent += 1;
        }
        let mut frame = FrameBuilder::new(session, seq);
        let taken = frame.push_log(0, offset, offset as f64, FIRST_MICROS + offset as i64, &self.text);
        // A caller asks for what one frame holds.
        assert_eq!(taken, self.text.len(), "{} lines are too many for a frame", self.lines);
        Some((frame.finish(), self.lines as u64))
    }
}

fn write_line(text: &mut Vec<u8>, number: u64) {
    use std::io::Write as _;
    let start = text.len();
    // What a training loop prints; digits that change keep a compressor honest.
    let mix = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (loss, rate) = ((mix >> 40) as f64 / 1e8, (mix & 0xffff) as f64 / 1e3);
    let _ = write!(
        text,
        "INFO train epoch={:<4} step={number:<10} loss={loss:.6} lr=0.0003 samples/s={rate:<8.3} id={mix:016x}",
        number / 1_000
    );
    text.resize(start + LINE_BYTES - 1, b' ');
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use neptune_wire::frame::{Block, parse};

    const SESSION: SessionId = SessionId::from_bytes([1; 16]);

    fn all(mut source: impl Source) -> Vec<(u32, Vec<f64>, Vec<i64>)> {
        let (mut blocks, mut seq) = (Vec::new(), 0);
        loop {
            seq += 1;
            let Some((bytes, points)) = source.frame(SESSION, seq) else { return blocks };
            let frame = parse(&bytes).unwrap();
            assert_eq!(frame.header.seq, seq);
            assert_eq!(frame.blocks.iter().map(|(_, block)| u64::from(block.count())).sum::<u64>(), points);
            for (channel, block) in &frame.blocks {
                let Block::Numeric(numbers) = block else { panic!("a block of numbers") };
                blocks.push((*channel, numbers.y().collect(), numbers.time().collect()));
            }
        }
    }

    #[test]
    fn every_point_is_sent_once_up_to_the_limit() {
        let source =
            Numbers::new(&Noise::new(), Shape::Noisy, 10, 1_000, 10).up_to(5_000).with_spike(4_321, 1e6);
        let blocks = all(source);
        for channel in 0..10 {
            let of = |blocks: &[(u32, Vec<f64>, Vec<i64>)]| -> Vec<f64> {
                blocks.iter().filter(|block| block.0 == channel).flat_map(|block| block.1.clone()).collect()
            };
            let y = of(&blocks);
            assert_eq!(y.len(), 5_000);
            assert_eq!(y.iter().position(|y| *y == 1e6), Some(4_321));
            assert!(y.iter().all(|y| f64::from(*y as f32) == *y), "born as f32");
        }
    }

    #[test]
    fn times_tremble_and_keep_their_order() {
        let blocks = all(Numbers::new(&Noise::new(), Shape::Noisy, 1, 1_000, 1).up_to(50_000));
        let times: Vec<i64> = blocks.into_iter().flat_map(|block| block.2).collect();
        let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| (500..1_500).contains(step)));
        assert!(steps.iter().filter(|step| **step == STEP_MICROS).count() < steps.len() / 10);
    }

    #[test]
    fn lines_are_of_one_length_and_fill_a_frame() {
        let mut lines = Lines::new(600);
        let (bytes, count) = lines.frame(SESSION, 1).unwrap();
        let frame = parse(&bytes).unwrap();
        let Block::Log(log) = &frame.blocks[0].1 else { panic!("a block of a log") };
        assert_eq!(log.bytes.len(), count as usize * LINE_BYTES);
        assert!(
            log.bytes.chunks(LINE_BYTES).all(|line| line.iter().position(|byte| *byte == b'\n') == Some(99))
        );
    }
}
