//! Parameter trees: typed structures of arrays that transforms take apart and put together again.

use crate::array::Array;
use crate::error::Result;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// One step of the way to a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A struct's field.
    Field(&'static str),
    /// A place in a list or tuple.
    Index(usize),
    /// A map's key.
    Key(String),
}

/// The way to a leaf, shown as `.layers[2].weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    segments: Vec<Segment>,
}

impl Path {
    /// The way to the tree itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
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
/// ```
/// use covector_core::{Array, tree::Tree};
/// let tree = (Array::scalar(1.0f32), vec![Array::scalar(2.0f32), Array::scalar(3.0f32)]);
/// assert_eq!(tree.leaves().len(), 3);
/// let doubled = tree.map(|x| x * 2.0);
/// assert_eq!(doubled.1[1].item::<f32>(), 6.0);
/// ```
pub trait Tree: Sized {
    /// Calls `f` with the path and every array leaf, in order.
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array));

    /// A tree of the same structure whose leaves are `f` of this one's, visited in the same order.
    ///
    /// # Errors
    /// The first error of `f`.
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self>;

    /// The leaves in order.
    fn leaves(&self) -> Vec<Array> {
        let mut leaves = Vec::new();
        self.visit(&mut Path::new(), &mut |_, x| leaves.push(x.clone()));
        leaves
    }

    /// The leaves in order, each with the way to it.
    fn paths(&self) -> Vec<(Path, Array)> {
        let mut leaves = Vec::new();
        self.visit(&mut Path::new(), &mut |p, x| leaves.push((p.clone(), x.clone())));
        leaves
    }

    /// A tree of the same structure whose leaves are `f` of this one's.
    fn map(&self, mut f: impl FnMut(&Array) -> Array) -> Self {
        crate::error::expect(self.try_map(&mut |x| Ok(f(x))))
    }

    /// A tree of this structure with other leaves.
    ///
    /// # Errors
    /// When there are not as many leaves as this tree has.
    fn with_leaves(&self, leaves: &[Array]) -> Result<Self> {
        let mut rest = leaves.iter();
        let count = || {
            let have = leaves.len();
            crate::Error::value(
                "tree",
                format!("{have} leaves do not fill a tree of {}", self.leaves().len()),
            )
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
}

impl<T: Tree> Tree for Box<T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        (**self).visit(path, f);
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        (**self).try_map(f).map(Box::new)
    }
}

impl<K: Clone + Ord + ToString, T: Tree> Tree for BTreeMap<K, T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        for (k, x) in self {
            path.scope(Segment::Key(k.to_string()), |p| x.visit(p, f));
        }
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        self.iter().map(|(k, x)| Ok((k.clone(), x.try_map(f)?))).collect()
    }
}

/// Visited in the order of the keys, so that equal maps have equal leaf orders.
impl<K, T, S> Tree for HashMap<K, T, S>
where
    K: Clone + Ord + std::hash::Hash + ToString,
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
}

macro_rules! leafless {
    ($($t:ty),* $(,)?) => {$(
        /// A plain value: it has no leaves and is copied as it is.
        impl Tree for $t {
            fn visit<'a>(&'a self, _: &mut Path, _: &mut dyn FnMut(&Path, &'a Array)) {}
            fn try_map(&self, _: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                Ok(self.clone())
            }
        }
    )*};
}
leafless!((), bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, String, &'static str);

macro_rules! tuples {
    ($($name:ident $i:tt),*) => {
        impl<$($name: Tree),*> Tree for ($($name,)*) {
            fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
                $(path.scope(Segment::Index($i), |p| self.$i.visit(p, f));)*
            }
            fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                Ok(($(self.$i.try_map(f)?,)*))
            }
        }
    };
}
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
