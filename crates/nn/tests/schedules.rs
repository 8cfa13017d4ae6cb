//! Learning rates after millions of steps are those of the formula, rounded once.

use covector_core::Array;
use covector_nn::optim::{Schedule, cosine_decay, exponential_decay, linear_schedule, step_decay};

fn at(schedule: &Schedule, step: u64) -> f32 {
    schedule.at(&Array::scalar(step)).unwrap().item::<f32>()
}

#[test]
fn rates_do_not_drift_with_the_number_of_steps() {
    let steps = [0u64, 1, 7, 1000, 123_456, (1 << 24) + 1, 50_000_001, 99_999_999, 100_000_000, 1 << 40];
    let decay = 1.0 - 1e-7;
    let exponential = exponential_decay(0.1, decay);
    let stepwise = step_decay(0.1, 0.9999, 1000).unwrap();
    let linear = linear_schedule(0.3, 0.1, 100_000_000).unwrap();
    let cosine = cosine_decay(0.3, 100_000_000, 0.01).unwrap();
    for step in steps {
        let t = step as f64;
        let share = t.min(1e8) / 1e8;
        for (name, schedule, want) in [
            ("exponential_decay", &exponential, 0.1 * decay.powf(t)),
            ("step_decay", &stepwise, 0.1 * 0.9999f64.powf((step / 1000) as f64)),
            ("linear_schedule", &linear, 0.3 + share * (0.1 - 0.3)),
            (
                "cosine_decay",
                &cosine,
                0.01 + (0.3 - 0.01) * 0.5 * (1.0 + (share * std::f64::consts::PI).cos()),
            ),
        ] {
            let got = at(schedule, step);
            let want = want as f32;
            // In the last place, where the formulas differ in float64.
            assert!(
                (got - want).abs() <= want.abs() * f32::EPSILON,
                "{name} after {step}: {got}, not {want}"
            );
        }
    }
    assert_eq!(at(&linear, 100_000_000), 0.1);
    assert_eq!(at(&cosine, 200_000_000), 0.01);
}
