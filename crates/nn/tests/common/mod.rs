//! The numbers in `fixtures/mlx.json`, which `python/tools/fixtures.py` computes with MLX and the tests of both languages read.
#![allow(dead_code, reason = "each test file uses a part")]

use covector_core::{Array, Dtype};
use std::sync::LazyLock;

/// A value in JSON, or in Python's notation for calls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    None,
    Flag(bool),
    Int(i32),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
    /// `name`, positional arguments, named arguments.
    Call(String, Vec<Json>, Vec<(String, Json)>),
    /// A name such as `nn.gelu`.
    Name(String),
}

static FIXTURES: LazyLock<Json> =
    LazyLock::new(|| Json::parse(include_str!("../../../../fixtures/mlx.json")));

/// A group of fixtures.
pub(crate) fn group(name: &str) -> &'static Json {
    FIXTURES.get(name).unwrap_or_else(|| panic!("there is no group {name}"))
}

impl Json {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parser = Parser { rest: text };
        let value = parser.value();
        assert!(parser.next().is_none(), "text behind the value: {:.40}", parser.rest);
        value
    }

    /// An entry of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        let Json::Map(entries) = self else { panic!("no map: {self:?}") };
        entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn at(&self, name: &str) -> &Json {
        self.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub(crate) fn list(&self) -> &[Json] {
        let Json::List(items) = self else { panic!("no list: {self:?}") };
        items
    }

    pub(crate) fn entries(&self) -> &[(String, Json)] {
        let Json::Map(entries) = self else { panic!("no map: {self:?}") };
        entries
    }

    pub(crate) fn text(&self) -> &str {
        let Json::Text(text) = self else { panic!("no text: {self:?}") };
        text
    }

    pub(crate) fn number(&self) -> f64 {
        match self {
            Json::Int(x) => f64::from(*x),
            Json::Float(x) => *x,
            _ => panic!("no number: {self:?}"),
        }
    }

    pub(crate) fn flag(&self) -> bool {
        let Json::Flag(flag) = self else { panic!("no truth value: {self:?}") };
        *flag
    }

    /// Nested lists as an array: `int32` of integers, `bool` of truth values, `float32` of other numbers.
    pub(crate) fn array(&self) -> Array {
        let (mut shape, mut at) = (Vec::new(), self);
        while let Json::List(items) = at {
            shape.push(items.len());
            at = items.first().unwrap_or(&Json::None);
        }
        let mut leaves = Vec::new();
        self.flatten(&mut leaves);
        let made = if leaves.iter().all(|x| matches!(x, Json::Int(_))) {
            Array::from_slice(&leaves.iter().map(|x| x.number() as i32).collect::<Vec<_>>(), &shape)
        } else if leaves.iter().all(|x| matches!(x, Json::Flag(_))) {
            Array::from_slice(&leaves.iter().map(|x| x.flag()).collect::<Vec<_>>(), &shape)
        } else {
            Array::from_slice(&leaves.iter().map(|x| x.number() as f32).collect::<Vec<_>>(), &shape)
        };
        made.expect("a value for each place")
    }

    fn flatten<'a>(&'a self, leaves: &mut Vec<&'a Json>) {
        match self {
            Json::List(items) => items.iter().for_each(|item| item.flatten(leaves)),
            leaf => leaves.push(leaf),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// The next character that is not a space.
    fn next(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Takes a character, if it is the next one.
    fn take(&mut self, c: char) -> bool {
        let found = self.next() == Some(c);
        if found {
            self.rest = &self.rest[c.len_utf8()..];
        }
        found
    }

    /// Takes the characters of a kind.
    fn span(&mut self, kind: impl Fn(char) -> bool) -> String {
        self.next();
        let end = self.rest.find(|c| !kind(c)).unwrap_or(self.rest.len());
        let (span, rest) = self.rest.split_at(end);
        self.rest = rest;
        span.to_owned()
    }

    /// Items up to a closing bracket, separated by commas.
    fn items<T>(&mut self, close: char, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.take(close) {
            assert!(items.is_empty() || self.take(','), "a comma is missing: {:.40}", self.rest);
            items.push(item(self));
        }
        items
    }

    fn value(&mut self) -> Json {
        match self.next() {
            Some('{') => {
                self.take('{');
                Json::Map(self.items('}', |parser| {
                    let key = parser.value().text().to_owned();
                    assert!(parser.take(':'), "a colon is missing behind {key}");
                    (key, parser.value())
                }))
            }
            Some('[') => {
                self.take('[');
                Json::List(self.items(']', Self::value))
            }
            Some(quote @ ('"' | '\'')) => {
                self.take(quote);
                let end = self.rest.find(quote).expect("a closing quote");
                let text = self.rest[..end].to_owned();
                assert!(!text.contains('\\'), "escapes are not supported: {text}");
                self.rest = &self.rest[end + 1..];
                Json::Text(text)
            }
            Some(c) if c == '-' || c.is_ascii_digit() => {
                let digits = self.span(|c| c.is_ascii_digit() || "+-.e".contains(c));
                digits.parse().map_or_else(|_| Json::Float(digits.parse().expect("a number")), Json::Int)
            }
            _ => {
                let name = self.span(|c| c.is_alphanumeric() || "._".contains(c));
                match name.as_str() {
                    "" => panic!("a value is missing: {:.40}", self.rest),
                    "null" | "None" => Json::None,
                    "true" | "True" => Json::Flag(true),
                    "false" | "False" => Json::Flag(false),
                    _ if self.take('(') => {
                        let all = self.items(')', |parser| match parser.value() {
                            Json::Name(name) if parser.take('=') => (Some(name), parser.value()),
                            value => (None, value),
                        });
                        let (named, positional): (Vec<_>, Vec<_>) =
                            all.into_iter().partition(|(name, _)| name.is_some());
                        Json::Call(
                            name,
                            positional.into_iter().map(|(_, value)| value).collect(),
                            named
                                .into_iter()
                                .map(|(name, value)| (name.unwrap_or_default(), value))
                                .collect(),
                        )
                    }
                    _ => Json::Name(name),
                }
            }
        }
    }
}

/// Compares in shape, type and value, within `tolerance` of the larger of 1 and the value.
#[track_caller]
pub(crate) fn check(what: &str, actual: &Array, wanted: &Json, tolerance: f64) {
    let wanted = wanted.array();
    assert_eq!(actual.shape(), wanted.shape(), "shape of {what}");
    assert_eq!(actual.dtype(), wanted.dtype(), "type of {what}");
    let (actual, wanted) = (numbers(actual), numbers(&wanted));
    for (i, (a, w)) in actual.iter().zip(&wanted).enumerate() {
        let near = a == w || (a - w).abs() <= tolerance * w.abs().max(1.0);
        assert!(near, "{what}: element {i} is {a}, not {w}\n{actual:?}\n{wanted:?}");
    }
}

pub(crate) fn numbers(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec()
}
