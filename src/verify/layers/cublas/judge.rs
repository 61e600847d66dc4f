//! Whether a speed is what the card can do. Pure: what was measured and seen goes in, a check comes out.

use crate::domain::Code;
use crate::verify::clocks::Sampled;
use crate::verify::numerics::Dtype;
use crate::verify::{Check, Outcome};

/// Spread of the middle half, as a part of the median, above which a speed says nothing.
const UNSTABLE: f64 = 0.10;

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Side of the matrices.
    pub side: usize,
    /// The memory that is free did not allow a large side.
    pub cramped: bool,
    /// Milliseconds of each launch, ascending.
    pub times: Vec<f64>,
}

impl Measured {
    fn at(&self, part: f64) -> f64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a few hundred times"
        )]
        let index = ((self.times.len() - 1) as f64 * part).round() as usize;
        self.times[index]
    }

    fn tflops(&self) -> f64 {
        operations(self.side) / self.at(0.5) / 1e9
    }

    fn spread(&self) -> f64 {
        (self.at(0.75) - self.at(0.25)) / self.at(0.5)
    }
}

/// The card that it is held against.
#[derive(Debug, Clone)]
pub(super) struct Card {
    /// Its multiprocessors.
    pub multiprocessors: u32,
    /// Dense peak in TFLOP/s, TOPS of int8.
    pub peak: Option<f64>,
    /// Dense operations of a multiprocessor in a clock.
    pub per_clock: Option<f64>,
}

/// Parts of the peak below which a data type fails, and below which it is warned of. What cuBLAS reaches with
/// tensor cores was measured on many cards, 0.7 to 0.87; of fp32 and int8 less is known, so that they are
/// given more room.
const fn thresholds(dtype: Dtype) -> [f64; 2] {
    match dtype {
        Dtype::Tf32 | Dtype::Fp16 | Dtype::Bf16 | Dtype::E4m3 => [0.50, 0.65],
        Dtype::Fp32 | Dtype::Int8 => [0.30, 0.45],
    }
}

/// Multiplications and additions of a product of squares.
fn operations(side: usize) -> f64 {
    2.0 * f64::from(u32::try_from(side).unwrap_or(u32::MAX)).powi(3)
}

/// What a speed comes to: slow only where no reason of its own was seen.
pub(super) fn judge(
    name: &str,
    dtype: Dtype,
    measured: &Measured,
    sampled: &Sampled,
    card: &Card,
) -> Check {
    let tflops = measured.tflops();
    let unit = if dtype == Dtype::Int8 { "TOPS" } else { "TFLOP/s" };
    let ratio = card.peak.map(|peak| tflops / peak);
    // What of it the clock explains: near one where the library uses each of the cycles that there were.
    let by_clock = card.per_clock.zip(sampled.sm_clock_mhz).and_then(|(per_clock, mhz)| {
        let possible = f64::from(card.multiprocessors) * mhz * per_clock / 1e6;
        (possible > 0.0).then(|| tflops / possible)
    });
    let said = match (ratio, card.peak) {
        (Some(ratio), Some(peak)) => {
            format!(
                "{} {tflops:.1} {unit}, {:.0} % of the {peak} that this card can do",
                dtype.word(),
                ratio * 100.0
            )
        }
        _ => format!("{} {tflops:.1} {unit}", dtype.word()),
    };
    let numbers = |mut check: Check| {
        let spread = measured.spread();
        let clock = [
            ("ratio", ratio),
            ("eff_clk", by_clock),
            ("sm_clock_mhz", sampled.sm_clock_mhz),
            ("power_watts", sampled.power_watts),
            ("temperature", sampled.temperature.map(f64::from)),
        ];
        check = check
            .number("tflops", rounded(tflops))
            .number("milliseconds", rounded(measured.at(0.5)))
            .number("milliseconds_p5", rounded(measured.at(0.05)))
            .number("milliseconds_p95", rounded(measured.at(0.95)))
            .number("spread", rounded(spread))
            .number("launches", measured.times.len())
            .number("side", measured.side);
        for (name, value) in clock {
            if let Some(value) = value {
                check = check.number(name, rounded(value));
            }
        }
        for reason in &sampled.reasons {
            check = check.fact(reason.clone(), "NVML");
        }
        check
    };
    let not_judged =
        |why: &str| numbers(Check::not_needed(name, format!("{said}; not judged: {why}")));
    if sampled.other_processes == Some(true) {
        return not_judged("other processes compute on this GPU");
    }
    if measured.spread() > UNSTABLE {
        return not_judged("the times differ too much from launch to launch");
    }
    if measured.cramped {
        return not_judged("too little memory is free for matrices that fill the card");
    }
    let Some(ratio) = ratio else {
        return not_judged("the peak of this card is not known");
    };
    let [fail, warn] = thresholds(dtype);
    if ratio >= warn {
        return numbers(Check::pass(name, said));
    }
    let verdict = |ratio: f64, said: String| match ratio {
        ratio if ratio < fail => Check::fail(name, Code::Slow, said),
        ratio if ratio < warn => Check::warn(name, Code::Slow, said),
        _ => Check::pass(name, said),
    };
    numbers(match held(sampled) {
        Held::Hardware(reason) => verdict(ratio, format!("{said}: NVML says {reason}"))
            .help("cool the machine, and look at its power supply: `nvidia-smi -q -d PERFORMANCE`"),
        // Almost every card meets its power limit here: what it does with the clocks that it has tells.
        Held::Limit(reason) => match by_clock {
            Some(by_clock) => slow(verdict(
                by_clock,
                format!(
                    "{said}, {:.0} % of what its clocks allow: NVML says {reason}",
                    by_clock * 100.0
                ),
            )),
            None => return not_judged(&format!("NVML says {reason}")),
        },
        Held::Free => slow(verdict(ratio, said)),
        // Not worse than a warning, where the reason may be one that nobody could see.
        Held::Unseen => {
            slow(verdict(ratio.max(fail), format!("{said}; nobody could see what its clocks did")))
        }
    })
}

/// What kept the clocks down, as far as anybody saw.
enum Held {
    /// Heat, or the board itself.
    Hardware(String),
    /// A limit that somebody has set, most of all that of power.
    Limit(String),
    /// Nothing.
    Free,
    /// Nobody could look.
    Unseen,
}

fn held(sampled: &Sampled) -> Held {
    let among = |names: &[&str]| {
        let seen = sampled.reasons.iter().filter(|reason| names.contains(&reason.as_str()));
        let seen: Vec<&str> = seen.map(String::as_str).collect();
        (!seen.is_empty()).then(|| seen.join(" and "))
    };
    // NVML's names.
    let hardware = among(&[
        "HW_SLOWDOWN",
        "HW_THERMAL_SLOWDOWN",
        "HW_POWER_BRAKE_SLOWDOWN",
        "SW_THERMAL_SLOWDOWN",
    ]);
    let limit = among(&["SW_POWER_CAP", "APPLICATIONS_CLOCKS_SETTING", "SYNC_BOOST"]);
    match (hardware, limit) {
        (Some(reason), _) => Held::Hardware(reason),
        (None, Some(reason)) => Held::Limit(reason),
        (None, None) if sampled.reason_bits.is_some() => Held::Free,
        (None, None) => Held::Unseen,
    }
}

/// What to do about a card that is slow without a reason.
fn slow(check: Check) -> Check {
    if check.outcome == Outcome::Pass {
        return check;
    }
    check.help("run it on another card of the same kind: where that one is as slow, the library is, and another version of it may be faster")
}

/// Four decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An H200 at so many TFLOP/s.
    fn measured(tflops: f64) -> Measured {
        let time = operations(8192) / tflops / 1e9;
        Measured { side: 8192, cramped: false, times: vec![time; 21] }
    }

    fn card() -> Card {
        Card { multiprocessors: 132, peak: Some(989.0), per_clock: Some(4096.0) }
    }

    fn seen(mhz: f64, reasons: &[&str]) -> Sampled {
        Sampled {
            sm_clock_mhz: Some(mhz),
            samples: 7,
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            reason_bits: Some(1),
            other_processes: Some(false),
            ..Sampled::default()
        }
    }

    fn bf16(measured: &Measured, sampled: &Sampled, card: &Card) -> Check {
        judge("bf16.speed", Dtype::Bf16, measured, sampled, card)
    }

    fn outcome(tflops: f64, sampled: &Sampled) -> (Outcome, Code) {
        let check = bf16(&measured(tflops), sampled, &card());
        (check.outcome, check.code)
    }

    const PASS: (Outcome, Code) = (Outcome::Pass, Code::Ok);
    const WARN: (Outcome, Code) = (Outcome::Warn, Code::Slow);
    const FAIL: (Outcome, Code) = (Outcome::Fail, Code::Slow);

    #[test]
    fn a_card_is_held_against_its_peak() {
        let free = seen(1800.0, &["GPU_IDLE"]);
        assert_eq!(outcome(788.0, &free), PASS);
        assert_eq!(outcome(600.0, &free), WARN);
        assert_eq!(outcome(450.0, &free), FAIL);
        let check = bf16(&measured(788.0), &free, &card());
        assert_eq!(check.text, "bf16 788.0 TFLOP/s, 80 % of the 989 that this card can do");
        assert_eq!(check.numbers["ratio"], 0.7968);
        // 132 x 1800 MHz x 4096 would be 973.2.
        assert_eq!(check.numbers["eff_clk"], 0.8097);
    }

    #[test]
    fn a_reason_is_named_and_weighs() {
        let heat = seen(900.0, &["SW_THERMAL_SLOWDOWN", "SW_POWER_CAP"]);
        assert_eq!(outcome(600.0, &heat), WARN);
        assert_eq!(outcome(400.0, &heat), FAIL);
        assert!(
            bf16(&measured(400.0), &heat, &card()).text.ends_with("NVML says SW_THERMAL_SLOWDOWN")
        );
        // Fast enough all the same.
        assert_eq!(outcome(700.0, &heat), PASS);
    }

    #[test]
    fn a_power_limit_excuses_the_clock_and_nothing_else() {
        // Half of the clock, and all that it gives.
        let capped = seen(900.0, &["SW_POWER_CAP"]);
        assert_eq!(outcome(400.0, &capped), PASS);
        // The whole clock, and half of what it gives.
        let at_full_clock = seen(1800.0, &["SW_POWER_CAP"]);
        assert_eq!(outcome(450.0, &at_full_clock), FAIL);
        assert_eq!(outcome(600.0, &at_full_clock), WARN);
        // Nobody knows what this card does in a clock.
        let unknown = Card { per_clock: None, ..card() };
        let check = bf16(&measured(400.0), &capped, &unknown);
        assert!(check.outcome == Outcome::Skip && check.optional, "{check:?}");
    }

    #[test]
    fn what_nobody_could_see_is_no_more_than_a_warning() {
        let blind = Sampled::default();
        assert_eq!(outcome(300.0, &blind), WARN);
        assert_eq!(outcome(788.0, &blind), PASS);
    }

    #[test]
    fn a_speed_that_says_nothing_is_not_judged() {
        let free = seen(1800.0, &[]);
        let skipped = |check: Check, why: &str| {
            assert!(check.outcome == Outcome::Skip && check.optional, "{check:?}");
            assert!(check.text.contains(why), "{}", check.text);
            assert_eq!(check.numbers["tflops"], 300.0);
        };
        let slow = measured(300.0);
        let busy = Sampled { other_processes: Some(true), ..free.clone() };
        skipped(bf16(&slow, &busy, &card()), "other processes");
        let mut times = slow.times.clone();
        times[13..].fill(slow.times[0] * 1.2);
        skipped(bf16(&Measured { times, ..slow.clone() }, &free, &card()), "differ too much");
        skipped(bf16(&Measured { cramped: true, ..slow.clone() }, &free, &card()), "memory");
        skipped(bf16(&slow, &free, &Card { peak: None, ..card() }), "peak");
    }
}
