//! A trace in Chrome's Trace Event Format.

use super::{Event, EventKind, Trace, rate};
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt::Write;

/// A text as a JSON string, with its quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // DEL and the line separators are allowed, but not everybody reads them.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn arguments(event: &Event) -> String {
    let mut fields = vec![format!("\"thread\":{}", event.thread)];
    if event.kind == EventKind::Kernel {
        fields.push(format!("\"bytes\":{}", event.bytes()));
        fields.push(format!("\"bytes read\":{}", event.bytes_read));
        fields.push(format!("\"bytes written\":{}", event.bytes_written));
        fields.push(format!("\"flops\":{}", event.flops));
        for (name, count) in [("GB/s", event.bytes()), ("GFLOP/s", event.flops)] {
            if let Some(rate) = rate(count, event.duration_us) {
                fields.push(format!("\"{name}\":{rate:.3}"));
            }
        }
    }
    format!("{{{}}}", fields.join(","))
}

pub(super) fn render(trace: &Trace) -> String {
    // The format's processes are our threads, and its threads our kernels: that makes a group for each thread, and in
    // it a row for each kernel, in the order in which they first ran.
    let mut lines: Vec<String> = Vec::with_capacity(trace.events.len() + 16);
    let mut rows: FxHashMap<(u32, &str, EventKind), usize> = FxHashMap::default();
    let mut groups: FxHashSet<u32> = FxHashSet::default();
    let meta = |lines: &mut Vec<String>, what: &str, pid: u32, tid: usize, value: String| {
        let (what, value) = (quoted(what), format!("{{{value}}}"));
        lines.push(format!("{{\"name\":{what},\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"args\":{value}}}"));
    };
    for event in &trace.events {
        let pid = event.thread + 1;
        if groups.insert(pid) {
            let name = quoted(&format!("thread {}", event.thread));
            meta(&mut lines, "process_name", pid, 0, format!("\"name\":{name}"));
        }
        let next = rows.len() + 1;
        let tid = *rows.entry((event.thread, &event.name, event.kind)).or_insert(next);
        let name = quoted(&event.name);
        if tid == next {
            meta(&mut lines, "thread_name", pid, tid, format!("\"name\":{name}"));
            meta(&mut lines, "thread_sort_index", pid, tid, format!("\"sort_index\":{tid}"));
        }
        lines.push(format!(
            "{{\"name\":{name},\"cat\":\"{}\",\"ph\":\"X\",\"ts\":{:.3},\"dur\":{:.3},\"pid\":{pid},\
             \"tid\":{tid},\"args\":{}}}",
            event.kind.name(),
            event.start_us,
            event.duration_us,
            arguments(event)
        ));
    }
    format!("{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{}\n]}}\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(
            quoted("a \"b\" \\ \n\t\u{1}\u{7f}\u{2028} é𝄞"),
            r#""a \"b\" \\ \u000a\u0009\u0001\u007f\u2028 é𝄞""#
        );
    }

    #[test]
    fn each_kernel_has_a_row_in_the_group_of_its_thread() {
        let text = render(&sample("say \"hi\""));
        let line = text.lines().find(|l| l.contains("\"ph\":\"X\"") && l.contains("hi")).unwrap();
        assert_eq!(
            line.trim_end_matches(','),
            r#"{"name":"say \"hi\"","cat":"kernel","ph":"X","ts":12.000,"dur":5.000,"pid":2,"tid":2,"args":{"thread":1,"bytes":10000,"bytes read":6000,"bytes written":4000,"flops":20000,"GB/s":2.000,"GFLOP/s":4.000}}"#
        );
        assert!(
            text.contains(r#"{"name":"process_name","ph":"M","pid":2,"tid":0,"args":{"name":"thread 1"}}"#)
        );
        assert!(
            text.contains(r#"{"name":"thread_name","ph":"M","pid":2,"tid":2,"args":{"name":"say \"hi\""}}"#)
        );
        assert_eq!(text.matches("\"ph\":\"X\"").count(), 3);
        assert_eq!(text.matches("thread_name").count(), 3);
        // What ran a plan of its own has a time, but no bytes: those are its kernels'.
        let outer = text.lines().find(|l| l.contains("\"cat\":\"nested\"")).unwrap();
        assert!(!outer.contains("bytes"), "{outer}");
    }
}
