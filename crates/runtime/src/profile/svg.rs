//! A trace as a picture.

use super::{EventKind, Total, Trace, shortened};
use rustc_hash::FxHashMap;
use std::fmt::Write;

/// Rows shown; the rest, which took least, is one more.
const MAX_ROWS: usize = 40;
/// Characters of a label.
const LABEL: usize = 58;
/// Where the chart starts, and how wide it is; the figures of a row come after it.
const LEFT: f64 = 400.0;
const WIDTH: f64 = 640.0;
const TOP: f64 = 78.0;
const ROW: f64 = 20.0;
const FULL: f64 = LEFT + WIDTH + 250.0;
/// Events closer than this many pixels are drawn as one.
const GAP: f64 = 0.4;

/// The least width of a bar that is still seen.
const LEAST: f64 = 0.8;

/// What the colours mean.
const LEGEND: [(&str, &str); 6] = [
    ("map", "#4c78a8"),
    ("region", "#2f9c95"),
    ("dot, convolution", "#d1495b"),
    ("other call", "#e09f3e"),
    ("nested call", "#b8b8b8"),
    ("planning, tracing", "#8d6cab"),
];

fn colour(total: &Total) -> &'static str {
    let place = match total.kind {
        EventKind::Plan | EventKind::Trace => 5,
        EventKind::Nested => 4,
        EventKind::Kernel if total.name.starts_with("map ") => 0,
        EventKind::Kernel if total.name.starts_with("region ") => 1,
        EventKind::Kernel if total.name.starts_with("matmul") || total.name.starts_with("conv") => 2,
        EventKind::Kernel => 3,
    };
    LEGEND[place].1
}

/// A text for an XML document.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A time in the unit that suits it.
fn time(us: f64) -> String {
    if us == 0.0 {
        return "0".into();
    }
    let (value, unit) = if us < 1e3 {
        (us, "µs")
    } else if us < 1e6 {
        (us / 1e3, "ms")
    } else {
        (us / 1e6, "s")
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into at most eight.
fn step(span: f64) -> f64 {
    let least = span / 8.0;
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|k| k * power).find(|&s| s >= least).unwrap_or(10.0 * power)
}

/// Adjacent events as one: from, to, how many, and the time in them.
struct Bar {
    from: f64,
    to: f64,
    count: usize,
    us: f64,
}

/// The longest kernels, and the others as one.
fn lines(trace: &Trace) -> Vec<Total> {
    let mut totals = trace.totals();
    if totals.len() > MAX_ROWS + 1 {
        let rest = totals.split_off(MAX_ROWS);
        totals.push(Total {
            name: format!("{} more kernels", rest.len()).into(),
            kind: EventKind::Kernel,
            count: rest.iter().map(|t| t.count).sum(),
            own_us: rest.iter().map(|t| t.own_us).sum(),
            bytes: rest.iter().map(|t| t.bytes).sum(),
            flops: rest.iter().map(|t| t.flops).sum(),
        });
    }
    totals
}

pub(super) fn render(trace: &Trace) -> String {
    let lines = lines(trace);
    let all: f64 = lines.iter().map(|t| t.own_us).sum();
    let start = trace.events.first().map_or(0.0, |e| e.start_us);
    let end = trace.events.iter().map(|e| e.start_us + e.duration_us).fold(start, f64::max);
    let span = (end - start).max(1e-3);
    let x = |us: f64| LEFT + (us - start) / span * WIDTH;

    let place: FxHashMap<(&str, EventKind), usize> =
        lines.iter().enumerate().map(|(i, t)| ((&*t.name, t.kind), i)).collect();
    let mut bars: Vec<Vec<Bar>> = lines.iter().map(|_| Vec::new()).collect();
    for event in &trace.events {
        let row = place.get(&(&*event.name, event.kind)).copied().unwrap_or(lines.len() - 1);
        let (from, to) = (x(event.start_us), x(event.start_us + event.duration_us));
        match bars[row].last_mut() {
            Some(bar) if from - bar.to < GAP => {
                bar.to = bar.to.max(to);
                bar.count += 1;
                bar.us += event.duration_us;
            }
            _ => bars[row].push(Bar { from, to, count: 1, us: event.duration_us }),
        }
    }

    let mut out = head(trace.events.len(), span, all, lines.len());
    for (i, (total, bars)) in lines.iter().zip(&bars).enumerate() {
        row(&mut out, TOP + i as f64 * ROW, total, bars, all);
    }
    out.push_str("</svg>\n");
    out
}

/// The background, the title, the legend, the axis and the heads of the columns.
fn head(events: usize, span: f64, all: f64, rows: usize) -> String {
    let bottom = TOP + rows as f64 * ROW;
    let height = bottom + 16.0;
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{FULL}\" height=\"{height}\" \
         viewBox=\"0 0 {FULL} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"11\">\n\
         <rect width=\"{FULL}\" height=\"{height}\" fill=\"#fcfcfa\"/>"
    );
    let title = format!("{events} events in {}; {} of work, by kernel", time(span), time(all));
    text(&mut out, 12.0, 24.0, "font-size=\"15\" fill=\"#222\"", &title);
    let mut at = 12.0;
    for (name, colour) in LEGEND {
        let _ = writeln!(out, "<rect x=\"{at:.1}\" y=\"36\" width=\"10\" height=\"10\" fill=\"{colour}\"/>");
        text(&mut out, at + 15.0, 45.0, "fill=\"#444\"", name);
        at += 36.0 + 5.8 * name.len() as f64;
    }
    for i in (1..rows).step_by(2) {
        let y = TOP + i as f64 * ROW;
        let _ = writeln!(out, "<rect y=\"{y:.1}\" width=\"{FULL}\" height=\"{ROW}\" fill=\"#f2f2ee\"/>");
    }
    let step = step(span);
    for k in 0..=(span / step) as usize {
        let x = LEFT + k as f64 * step / span * WIDTH;
        let _ = writeln!(out, "<path d=\"M{x:.2} {:.1}V{bottom:.1}\" stroke=\"#d8d8d4\"/>", TOP - 4.0);
        text(&mut out, x, TOP - 8.0, "fill=\"#666\" text-anchor=\"middle\"", &time(k as f64 * step));
    }
    for (i, head) in ["time", "share", "GB/s", "GFLOP/s"].iter().enumerate() {
        text(&mut out, column(i), TOP - 8.0, "fill=\"#666\" text-anchor=\"end\"", head);
    }
    out
}

/// One kernel: its name, its bars, its figures.
fn row(out: &mut String, y: f64, total: &Total, bars: &[Bar], all: f64) {
    let middle = y + 14.0;
    let _ = write!(out, "<g><title>{}</title>", escaped(&total.name));
    text(out, 12.0, middle, "fill=\"#222\"", &shortened(&total.name, LABEL));
    out.push_str("</g>\n");
    for bar in bars {
        let note = match bar.count {
            1 => time(bar.us),
            n => format!("{n} times, {} together", time(bar.us)),
        };
        let _ = writeln!(
            out,
            "<rect x=\"{:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {note}</title></rect>",
            bar.from,
            y + 3.0,
            (bar.to - bar.from).max(LEAST),
            ROW - 6.0,
            colour(total),
            escaped(&total.name)
        );
    }
    let rate = |rate: Option<f64>| rate.map_or_else(String::new, |r| format!("{r:.1}"));
    let share = if all > 0.0 { total.own_us / all * 100.0 } else { 0.0 };
    let figures =
        [time(total.own_us), format!("{share:.1} %"), rate(total.bandwidth()), rate(total.flop_rate())];
    for (i, figure) in figures.iter().enumerate() {
        text(out, column(i), middle, "fill=\"#444\" text-anchor=\"end\"", figure);
    }
}

fn text(out: &mut String, x: f64, y: f64, style: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{}</text>", escaped(text));
}

/// Where column `place` of the figures ends.
fn column(place: usize) -> f64 {
    LEFT + WIDTH + 70.0 + 58.0 * place as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn rows_are_escaped_and_lie_where_their_times_are() {
        let svg = render(&sample("a < b & \u{1}\"c\""));
        assert!(svg.contains("a &lt; b &amp; \u{fffd}&quot;c&quot;"), "{svg}");
        // 10 to 52 µs is the width; the kernel ran from 12 to 17.
        let due = format!("<rect x=\"{:.2}\"", LEFT + 2.0 / 42.0 * WIDTH);
        let width = format!("width=\"{:.2}\"", 5.0 / 42.0 * WIDTH);
        assert!(svg.lines().any(|l| l.starts_with(&due) && l.contains(&width)), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn a_trace_without_events_is_a_picture_too() {
        let svg = render(&Trace::default());
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn many_kernels_and_events_stay_one_small_picture() {
        let mut trace = sample("first");
        let one = trace.events[1].clone();
        for i in 0..100_000 {
            let mut event = one.clone();
            event.name = format!("kernel {}", i % 100).into();
            event.start_us = 100.0 + i as f64;
            event.duration_us = 0.5;
            trace.events.push(event);
            trace.own_us.push(0.5);
        }
        let svg = render(&trace);
        assert!(svg.contains("63 more kernels"), "{}", &svg[..2000]);
        assert!(svg.len() < 12 << 20, "{} bytes", svg.len());
    }

    #[test]
    fn times_and_steps() {
        assert_eq!(
            [time(0.5), time(12.34), time(5400.0), time(2.5e6)],
            ["0.50 µs", "12.3 µs", "5.40 ms", "2.50 s"]
        );
        assert_eq!([step(8.0), step(42.0), step(100.0), step(700.0)], [1.0, 10.0, 20.0, 100.0]);
    }
}
