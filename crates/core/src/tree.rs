//! Parameter trees: typed structures of arrays. Transforms flatten a tree to its leaves, and rebuild it from others.
//!
//! A tree consists of leaves, the path to each leaf, and a [`Structure`]. A leaf has a [`Role`]: trained, or kept.

#[doc(hidden)]
pub mod fixed;
mod kept;
mod structure;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::shape::ShapeText;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

pub use kept::{Kept, Role};
pub use structure::{Describe, Structure};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A struct's field.
    Field(&'static str),
    /// An index into a list or tuple.
    Index(usize),
    /// A map's key.
    Key(String),
}

/// The path from the root of a tree to a leaf, shown as `.layers[2].weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    segments: Vec<Segment>,
    role: Role,
}

impl Path {
    /// The empty path, which leads to the tree itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The role of the leaf at this path.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Runs `f` on a part of the tree whose leaves are [kept](Role::Kept).
    pub fn kept<R>(&mut self, f: impl FnOnce(&mut Path) -> R) -> R {
        let role = std::mem::replace(&mut self.role, Role::Kept);
        let result = f(self);
        self.role = role;
        result
    }

    /// Runs `f` one step further down.
    pub fn scope<R>(&mut self, segment: Segment, f: impl FnOnce(&mut Path) -> R) -> R {
        self.segments.push(segment);
        let result = f(self);
        self.segments.pop();
        result
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(i) => write!(f, "[{i}]")?,
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// A structure whose leaves are arrays. Implemented for arrays, tuples, `Vec`, `[T; N]`, `Option`, `Box`, maps,
/// plain values (which have no leaves) and by `#[derive(Tree)]`.
///
/// The three required methods walk over the same parts in the same order. `compile` does not notice changes of a part
/// that an implementation by hand leaves out of [`describe`](Tree::describe).
///
/// ```
/// use covector_core::{Array, tree::Tree};
/// let tree = (Array::scalar(1.0f32), vec![Array::scalar(2.0f32), Array::scalar(3.0f32)]);
/// assert_eq!(tree.leaves().len(), 3);
/// let doubled = tree.map(|x| x * 2.0);
/// assert_eq!(doubled.1[1].item::<f32>(), 6.0);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tree of arrays",
    note = "a struct or an enum becomes one with `#[derive(Tree)]`",
    note = "a field that holds no arrays can say `#[tree(skip)]`, which makes it a static value, or `#[tree(ignore)]`"
)]
pub trait Tree: Sized {
    /// Calls `f` with the path and every array leaf, in order.
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array));

    /// A tree of the same structure, with `f` applied to each leaf, in the order of [`visit`](Tree::visit).
    ///
    /// # Errors
    /// The first error of `f`.
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self>;

    /// Describes the structure to `to`: variants, keys, lengths and static values, and the position of each leaf.
    fn describe(&self, to: &mut Describe<'_>);

    /// The structure: everything in the tree but the values of its arrays. Structures can be compared.
    fn structure(&self) -> Structure {
        Structure::of(self)
    }

    /// The leaves in order.
    fn leaves(&self) -> Vec<Array> {
        let mut leaves = Vec::new();
        self.visit(&mut Path::new(), &mut |_, x| leaves.push(x.clone()));
        leaves
    }

    /// The leaves in order, each with its path.
    fn paths(&self) -> Vec<(Path, Array)> {
        let mut leaves = Vec::new();
        self.visit(&mut Path::new(), &mut |p, x| leaves.push((p.clone(), x.clone())));
        leaves
    }

    /// A tree of the same structure, with `f` applied to each leaf.
    fn map(&self, mut f: impl FnMut(&Array) -> Array) -> Self {
        crate::error::expect(self.try_map(&mut |x| Ok(f(x))))
    }

    /// A tree of this structure with other leaves of the same shapes and element types, for example those of a checkpoint.
    ///
    /// ```
    /// use covector_core::{Array, Tree};
    /// let net = (Array::new([1.0f32, 2.0]), vec![Array::scalar(0.5f32)]);
    /// let error = net.with_leaves(&[Array::new([3.0f32, 4.0]), Array::scalar(1i32)]).unwrap_err();
    /// assert_eq!(error.to_string(), "[with_leaves] the leaf [1][0] is float32 (), but int32 () was given for it");
    /// ```
    ///
    /// # Errors
    /// When the number of leaves is another one, and when a leaf has another shape or type. The message names its path.
    fn with_leaves(&self, leaves: &[Array]) -> Result<Self> {
        let (mut count, mut wrong) = (0, None);
        self.visit(&mut Path::new(), &mut |path, x| {
            if let Some(leaf) = leaves.get(count)
                && wrong.is_none()
                && leaf.aval() != x.aval()
            {
                let text = |x: &Array| format!("{} {}", x.dtype(), ShapeText(x.shape()));
                let (want, got) = (text(x), text(leaf));
                let gap = if path.segments.is_empty() { "" } else { " " };
                let message = format!("the leaf{gap}{path} is {want}, but {got} was given for it");
                wrong = Some(if leaf.shape() == x.shape() {
                    Error::dtype("with_leaves", message)
                } else {
                    Error::shape("with_leaves", message)
                });
            }
            count += 1;
        });
        match wrong {
            Some(error) if count == leaves.len() => Err(error),
            _ => self.with_any_leaves(leaves),
        }
    }

    /// A tree of this structure with leaves of any shapes and types, such as a batch of trees or the state of an optimizer.
    ///
    /// # Errors
    /// When the number of leaves is another one.
    fn with_any_leaves(&self, leaves: &[Array]) -> Result<Self> {
        let mut rest = leaves.iter();
        let count = || {
            let (have, need) = (leaves.len(), self.leaves().len());
            Error::value("with_leaves", format!("{have} leaves do not fill a tree of {need}"))
        };
        let tree = self.try_map(&mut |_| rest.next().cloned().ok_or_else(count))?;
        if rest.next().is_some() { Err(count()) } else { Ok(tree) }
    }
}

impl Tree for Array {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        f(path, self);
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        f(self)
    }
    fn describe(&self, to: &mut Describe<'_>) {
        to.leaf(self);
    }
}

fn describe_list<T: Tree>(kind: &'static str, items: &[T], to: &mut Describe<'_>) {
    to.list(kind, items.len());
    items.iter().for_each(|x| x.describe(to));
}

impl<T: Tree> Tree for Vec<T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        for (i, x) in self.iter().enumerate() {
            path.scope(Segment::Index(i), |p| x.visit(p, f));
        }
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        self.iter().map(|x| x.try_map(f)).collect()
    }
    fn describe(&self, to: &mut Describe<'_>) {
        describe_list("list", self, to);
    }
}

impl<T: Tree, const N: usize> Tree for [T; N] {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        for (i, x) in self.iter().enumerate() {
            path.scope(Segment::Index(i), |p| x.visit(p, f));
        }
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        let items: Vec<T> = self.iter().map(|x| x.try_map(f)).collect::<Result<_>>()?;
        match items.try_into() {
            Ok(array) => Ok(array),
            Err(_) => unreachable!("one item out for each of the N items in"),
        }
    }
    fn describe(&self, to: &mut Describe<'_>) {
        describe_list("array", self, to);
    }
}

impl<T: Tree> Tree for Option<T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        if let Some(x) = self {
            x.visit(path, f);
        }
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        self.as_ref().map(|x| x.try_map(f)).transpose()
    }
    fn describe(&self, to: &mut Describe<'_>) {
        match self {
            Some(x) => {
                to.node("Some", &[]);
                x.describe(to);
            }
            None => to.node("None", &[]),
        }
    }
}

impl<T: Tree> Tree for Box<T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        (**self).visit(path, f);
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        (**self).try_map(f).map(Box::new)
    }
    fn describe(&self, to: &mut Describe<'_>) {
        (**self).describe(to);
    }
}

/// Describes keys and values in the order of the keys. A text key is described as text, so that messages show it.
fn describe_map<'a, K: Clone + PartialEq + Send + Sync + 'static, T: Tree + 'a>(
    items: impl ExactSizeIterator<Item = (&'a K, &'a T)>,
    to: &mut Describe<'_>,
) {
    to.list("map", items.len());
    for (k, x) in items {
        let key: &dyn Any = k;
        match (key.downcast_ref::<String>(), key.downcast_ref::<&'static str>()) {
            (Some(text), _) => to.text(text),
            (_, Some(text)) => to.text(text),
            _ => to.value(k),
        }
        x.describe(to);
    }
}

impl<K: Clone + Ord + ToString + Send + Sync + 'static, T: Tree> Tree for BTreeMap<K, T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        for (k, x) in self {
            path.scope(Segment::Key(k.to_string()), |p| x.visit(p, f));
        }
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        self.iter().map(|(k, x)| Ok((k.clone(), x.try_map(f)?))).collect()
    }
    fn describe(&self, to: &mut Describe<'_>) {
        describe_map(self.iter(), to);
    }
}

/// Visited in the order of the keys, so that equal maps have equal leaf orders.
impl<K, T, S> Tree for HashMap<K, T, S>
where
    K: Clone + Ord + std::hash::Hash + ToString + Send + Sync + 'static,
    T: Tree,
    S: std::hash::BuildHasher + Default,
{
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        let mut items: Vec<_> = self.iter().collect();
        items.sort_by(|a, b| a.0.cmp(b.0));
        for (k, x) in items {
            path.scope(Segment::Key(k.to_string()), |p| x.visit(p, f));
        }
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        let mut items: Vec<_> = self.iter().collect();
        items.sort_by(|a, b| a.0.cmp(b.0));
        items.into_iter().map(|(k, x)| Ok((k.clone(), x.try_map(f)?))).collect()
    }
    fn describe(&self, to: &mut Describe<'_>) {
        let mut items: Vec<_> = self.iter().collect();
        items.sort_by(|a, b| a.0.cmp(b.0));
        describe_map(items.into_iter(), to);
    }
}

macro_rules! leafless {
    ($({$($generics:tt)*} $t:ty: |$x:ident, $to:ident| $describe:expr;)*) => {$(
        /// A plain value: it has no leaves, is copied as it is, and is part of the structure.
        impl<$($generics)*> Tree for $t {
            fn visit<'a>(&'a self, _: &mut Path, _: &mut dyn FnMut(&Path, &'a Array)) {}
            fn try_map(&self, _: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                Ok(self.clone())
            }
            fn describe(&self, $to: &mut Describe<'_>) {
                let $x = self;
                $describe
            }
        }
    )*};
}
macro_rules! numbers {
    ($($t:ident),*) => {
        leafless!($({} $t: |x, to| to.number(stringify!($t), *x as u128);)*);
    };
}
numbers!(bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
leafless! {
    {} f32: |x, to| to.number("f32", x.to_bits().into());
    {} f64: |x, to| to.number("f64", x.to_bits().into());
    {} String: |x, to| to.text(x);
    {'s} &'s str: |x, to| to.text(x);
}

impl Tree for () {
    fn visit<'a>(&'a self, _: &mut Path, _: &mut dyn FnMut(&Path, &'a Array)) {}
    fn try_map(&self, _: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        Ok(())
    }
    fn describe(&self, to: &mut Describe<'_>) {
        to.list("tuple", 0);
    }
}

macro_rules! tuples {
    ($n:literal: $($name:ident $i:tt),*) => {
        impl<$($name: Tree),*> Tree for ($($name,)*) {
            fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
                $(path.scope(Segment::Index($i), |p| self.$i.visit(p, f));)*
            }
            fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                Ok(($(self.$i.try_map(f)?,)*))
            }
            fn describe(&self, to: &mut Describe<'_>) {
                to.list("tuple", $n);
                $(self.$i.describe(to);)*
            }
        }
    };
}
tuples!(1: A 0);
tuples!(2: A 0, B 1);
tuples!(3: A 0, B 1, C 2);
tuples!(4: A 0, B 1, C 2, D 3);
tuples!(5: A 0, B 1, C 2, D 3, E 4);
tuples!(6: A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
