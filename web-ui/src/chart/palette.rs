//! Which colour a series has: chosen by its name, so that `loss` looks the same in every chart of every job.

/// Colours in the palette (`--series-0` … in `css/tokens.css`).
pub const COLOURS: usize = 7;

/// The colour of each series of a chart. Two series whose names choose the same colour get different ones, as long as
/// there are enough.
pub fn colours<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let mut used = [0_usize; COLOURS];
    let mut chosen = Vec::new();
    for name in names {
        let wanted = hash(name) as usize % COLOURS;
        let least = used.iter().copied().min().unwrap_or(0);
        let after_wanted = (0..COLOURS).map(|step| (wanted + step) % COLOURS);
        let colour = after_wanted.into_iter().find(|colour| used[*colour] == least).unwrap_or(wanted);
        used[colour] += 1;
        chosen.push(colour);
    }
    chosen
}

/// FNV-1a: short, and the same on every machine for ever.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_keeps_its_colour() {
        assert_eq!(colours(["loss"]), colours(["loss"]));
        assert_eq!(colours(["loss", "accuracy"])[0], colours(["loss"])[0]);
    }

    #[test]
    fn series_of_one_chart_differ_while_colours_last() {
        let names: Vec<_> = (0..20).map(|n| format!("channel {n}")).collect();
        let chosen = colours(names.iter().map(String::as_str));
        for colour in 0..COLOURS {
            let times = chosen.iter().filter(|chosen| **chosen == colour).count();
            assert!((2..=3).contains(&times), "colour {colour} {times} times in {chosen:?}");
        }
    }
}
