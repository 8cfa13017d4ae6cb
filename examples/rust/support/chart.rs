//! Line charts of numbers over steps.

use super::canvas::{Align, Canvas, GREY, INK, PALE, Rgb, text_width};

/// The scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    Linear,
    /// Equal factors have equal heights, for a loss that falls by orders of magnitude. Only positive values are drawn.
    Log,
}

/// The style of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stroke {
    Bold,
    /// Thin and pale, for a noisy series behind its average.
    Faint,
}

/// One line of a chart.
pub(crate) struct Series<'a> {
    /// Its name in the legend.
    pub(crate) name: &'a str,
    pub(crate) color: Rgb,
    pub(crate) stroke: Stroke,
    pub(crate) points: &'a [(f64, f64)],
}

/// A chart of some series over one pair of axes. Points that are not finite are left out.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) x_label: &'a str,
    pub(crate) y_label: &'a str,
    pub(crate) y_scale: Scale,
    pub(crate) series: &'a [Series<'a>],
}

const SIZE: (i32, i32) = (1000, 600);
/// The area of the lines: left, top, right, bottom.
const PLOT: (i32, i32, i32, i32) = (110, 80, SIZE.0 - 40, SIZE.1 - 90);

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Canvas {
        let (left, top, right, bottom) = PLOT;
        let x_axis = Axis::over(self.visible().map(|(x, _)| x), Scale::Linear, (left, right), false);
        let y_axis = Axis::over(self.visible().map(|(_, y)| y), self.y_scale, (bottom, top), true);

        let mut canvas = Canvas::new(SIZE.0 as usize, SIZE.1 as usize);
        canvas.text((left, 28), Align::Left, 3, INK, self.title);
        for (value, label) in y_axis.ticks() {
            let y = y_axis.place(value).round() as i32;
            canvas.fill(left, y, right - left, 1, PALE);
            canvas.text((left - 14, y - 6), Align::Right, 2, GREY, &label);
        }
        for (value, label) in x_axis.ticks() {
            let x = x_axis.place(value).round() as i32;
            canvas.fill(x, bottom, 1, 7, GREY);
            canvas.text((x, bottom + 16), Align::Center, 2, GREY, &label);
        }
        canvas.fill(left, bottom, right - left + 1, 1, GREY);
        canvas.text(((left + right) / 2, SIZE.1 - 38), Align::Center, 2, INK, self.x_label);
        canvas.text_upwards((22, (top + bottom) / 2), 2, INK, self.y_label);

        for series in self.series {
            let points: Vec<_> = series.points.iter().filter(|point| self.is_visible(point)).collect();
            let points: Vec<_> = points.iter().map(|(x, y)| (x_axis.place(*x), y_axis.place(*y))).collect();
            let (width, opacity) = series.stroke.width_and_opacity();
            canvas.polyline(&points, width, series.color, opacity);
        }
        self.draw_legend(&mut canvas);
        canvas
    }

    /// Draws the legend in the upper right corner, where a falling curve leaves room.
    fn draw_legend(&self, canvas: &mut Canvas) {
        const LINE: i32 = 30;
        const SWATCH: i32 = 36;
        let named = || self.series.iter().filter(|series| !series.name.is_empty());
        let (count, widest) =
            (named().count() as i32, named().map(|s| text_width(s.name, 2)).max().unwrap_or(0));
        if count == 0 {
            return;
        }
        let (_, top, right, _) = PLOT;
        let left = right - widest - SWATCH - 24;
        canvas.fill(left - 14, top + 4, right - left + 14, count * LINE + 8, super::canvas::WHITE);
        for (line, series) in (0..).zip(named()) {
            let y = top + 16 + line * LINE;
            let (width, opacity) = series.stroke.width_and_opacity();
            let (middle, end) = ((y + 7) as f32, (left + SWATCH) as f32);
            canvas.polyline(&[(left as f32, middle), (end, middle)], width, series.color, opacity);
            canvas.text((left + SWATCH + 12, y), Align::Left, 2, INK, series.name);
        }
    }

    fn visible(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|series| series.points).filter(|point| self.is_visible(point)).copied()
    }

    fn is_visible(&self, (x, y): &(f64, f64)) -> bool {
        x.is_finite() && y.is_finite() && (self.y_scale == Scale::Linear || *y > 0.0)
    }
}

impl Stroke {
    fn width_and_opacity(self) -> (f32, f32) {
        match self {
            Stroke::Bold => (3.0, 1.0),
            Stroke::Faint => (1.4, 0.35),
        }
    }
}

/// The range of values along an axis, and its range of pixels.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// The distance between ticks; not used on a logarithmic axis.
    step: f64,
    pixels: (i32, i32),
}

impl Axis {
    /// An axis that shows all the values: exactly their range, or, with `round`, out to the next ticks.
    fn over(values: impl Iterator<Item = f64>, scale: Scale, pixels: (i32, i32), round: bool) -> Self {
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            // There are no values, so any axis suits.
            (low, high) = (if scale == Scale::Log { 0.1 } else { 0.0 }, 1.0);
        }
        if scale == Scale::Log {
            // A margin, so that the line touches neither edge and a single value has a range.
            return Axis { scale, low: low / 1.3, high: high * 1.3, step: 0.0, pixels };
        }
        if round && low > 0.0 && low < 0.5 * high {
            low = 0.0; // zero is close, and an axis without it would mislead
        }
        if high - low <= f64::EPSILON * high.abs() {
            (low, high) = (low - 0.5 * low.abs().max(1.0), high + 0.5 * high.abs().max(1.0));
        }
        let step = round_step((high - low) / 6.0);
        if round {
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        }
        Axis { scale, low, high, step, pixels }
    }

    /// The pixel of a value.
    fn place(&self, value: f64) -> f32 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        let (from, to) = (f64::from(self.pixels.0), f64::from(self.pixels.1));
        (from + share * (to - from)) as f32
    }

    /// The marked values with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let decimals = (-self.step.log10().floor()).max(0.0) as usize;
                let first = (self.low / self.step - 1e-9).ceil() as i64;
                let last = (self.high / self.step + 1e-9).floor() as i64;
                let tick = |n: i64| n as f64 * self.step;
                (first..=last).map(|n| (tick(n), format!("{:.decimals$}", tick(n)))).collect()
            }
            Scale::Log => {
                let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
                // Over many decades only powers of ten are marked, because the labels would touch.
                let within: &[f64] = if last - first <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let every = (last - first) / 8 + 1;
                let marks = (first..=last).filter(|decade| decade.rem_euclid(every) == 0);
                marks
                    .flat_map(|decade| within.iter().map(move |m| (decade, m * 10f64.powi(decade))))
                    .filter(|(_, value)| (self.low..=self.high).contains(value))
                    .map(|(decade, value)| (value, log_label(decade, value)))
                    .collect()
            }
        }
    }
}

fn log_label(decade: i32, value: f64) -> String {
    if (-4..6).contains(&decade) {
        format!("{value:.*}", usize::try_from(-decade).unwrap_or(0))
    } else {
        format!("{value:.0e}")
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    // The last factor is for a quotient that rounding has raised above 5.
    let factor =
        [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

/// The running average of a noisy series; a point's weight halves with every `half_life` further points.
pub(crate) fn smoothed(points: &[(f64, f64)], half_life: f64) -> Vec<(f64, f64)> {
    let keep = 0.5f64.powf(1.0 / half_life);
    let (mut sum, mut weight) = (0.0, 0.0);
    let average = |&(x, y): &(f64, f64)| {
        // Divided by the sum of the weights, so that the first averages are not too close to zero.
        (sum, weight) = (sum * keep + y, weight * keep + 1.0);
        (x, sum / weight)
    };
    points.iter().map(average).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], scale: Scale) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), scale, (0, 100), true);
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&[0.0, 1000.0], Scale::Linear), ["0", "200", "400", "600", "800", "1000"]);
        assert_eq!(labels(&[0.1, 2.31], Scale::Linear), ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(labels(&[0.95, 0.99], Scale::Linear), ["0.95", "0.96", "0.97", "0.98", "0.99"]);
        assert_eq!(labels(&[0.02, 2.0], Scale::Log), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(labels(&[1e-6, 1.0], Scale::Log).first().map(String::as_str), Some("1e-6"));
    }

    #[test]
    fn unusual_values_make_a_chart_all_the_same() {
        let cases: [&[(f64, f64)]; 5] = [
            &[],
            &[(0.0, 0.0)],
            &[(1.0, 5.0), (2.0, 5.0)],
            &[(0.0, f64::NAN), (1.0, -1.0)],
            &[(0.0, 1e30), (1.0, 1e-30)],
        ];
        for points in cases {
            for y_scale in [Scale::Linear, Scale::Log] {
                let series = [Series { name: "a", color: INK, stroke: Stroke::Bold, points }];
                Chart { title: "t", x_label: "x", y_label: "y", y_scale, series: &series }.draw();
            }
        }
    }

    #[test]
    fn an_average_begins_at_the_first_value() {
        let points = [(0.0, 4.0), (1.0, 2.0), (2.0, 2.0)];
        let average = smoothed(&points, 1.0);
        assert_eq!(average[0], (0.0, 4.0));
        assert!(average[2].1 > 2.0 && average[2].1 < average[1].1);
    }
}
