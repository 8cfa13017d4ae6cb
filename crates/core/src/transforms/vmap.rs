//! `vmap` over typed trees.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::transforms::flat::{Randomness, vmap_flat_with};
use crate::tree::Tree;

/// The batch axis of each leaf: one axis for all, or one for each leaf. A leaf with `None` has no batch.
#[derive(Clone, Debug)]
pub enum Axes {
    /// The same axis for every leaf.
    All(Option<isize>),
    /// An axis for each leaf, in the tree's order.
    Each(Vec<Option<isize>>),
}

impl From<isize> for Axes {
    fn from(axis: isize) -> Self {
        Axes::All(Some(axis))
    }
}

impl From<Option<isize>> for Axes {
    fn from(axis: Option<isize>) -> Self {
        Axes::All(axis)
    }
}

impl<const N: usize> From<[Option<isize>; N]> for Axes {
    fn from(axes: [Option<isize>; N]) -> Self {
        Axes::Each(axes.to_vec())
    }
}

impl Axes {
    fn spread(&self, what: &str, leaves: usize) -> Result<Vec<Option<isize>>> {
        match self {
            Axes::All(axis) => Ok(vec![*axis; leaves]),
            Axes::Each(axes) if axes.len() == leaves => Ok(axes.clone()),
            Axes::Each(axes) => Err(Error::value(
                "vmap",
                format!("{what} names {} axes for {leaves} arrays; give one for each", axes.len()),
            )),
        }
    }
}

/// The options of [`vmap_with`].
///
/// ```
/// use covector_core::transforms::{Randomness, Vmap};
/// let each_its_own = Vmap { randomness: Randomness::Different, ..Vmap::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Vmap {
    /// The batch axis of each leaf of the argument.
    pub in_axes: Axes,
    /// The position of the batch axis in each leaf of the result.
    pub out_axes: Axes,
    /// Whether the examples share random numbers that are drawn without a key.
    pub randomness: Randomness,
}

impl Default for Vmap {
    /// Axis 0 everywhere, and one draw for all examples.
    fn default() -> Self {
        Self { in_axes: 0.into(), out_axes: 0.into(), randomness: Randomness::Same }
    }
}

/// Vectorises `f` over axis 0 of every leaf of its argument; the results are stacked on axis 0.
///
/// Random numbers that `f` draws without a key are drawn once, for all examples; see [`Randomness`].
///
/// ```
/// use covector_core::{Array, transforms::{grad, vmap}};
/// let x = Array::new([1.0f32, 2.0, 3.0]);
/// let slopes = vmap(grad(|x: &Array| x.square()))(&x).unwrap();
/// assert_eq!(slopes.to_vec::<f32>(), [2.0, 4.0, 6.0]);
/// ```
pub fn vmap<P: Tree, R: Output>(f: impl Fn(&P) -> R) -> impl Fn(&P) -> Result<R::Tree> {
    vmap_axes(f, 0, 0)
}

/// [`vmap`] with a choice of axes.
pub fn vmap_axes<P: Tree, R: Output>(
    f: impl Fn(&P) -> R,
    in_axes: impl Into<Axes>,
    out_axes: impl Into<Axes>,
) -> impl Fn(&P) -> Result<R::Tree> {
    vmap_with(f, Vmap { in_axes: in_axes.into(), out_axes: out_axes.into(), ..Vmap::default() })
}

/// [`vmap`] with a choice of axes and a rule for random numbers that are drawn without a key.
///
/// ```
/// use covector_core::{Array, Dtype, random, transforms::{Randomness, Vmap, vmap_with}};
/// let noisy = |x: &Array| random::normal(&[], Dtype::F32, 0.0, 1.0, None).map(|noise| x + noise);
/// let x = Array::new([1.0f32, 1.0]);
/// let same = vmap_with(noisy, Vmap::default())(&x)?.to_vec::<f32>();
/// assert_eq!(same[0], same[1]);
/// let own = vmap_with(noisy, Vmap { randomness: Randomness::Different, ..Vmap::default() })(&x)?.to_vec::<f32>();
/// assert_ne!(own[0], own[1]);
/// # Ok::<(), covector_core::Error>(())
/// ```
pub fn vmap_with<P: Tree, R: Output>(f: impl Fn(&P) -> R, options: Vmap) -> impl Fn(&P) -> Result<R::Tree> {
    let Vmap { in_axes, out_axes, randomness } = options;
    move |args: &P| {
        let leaves = args.leaves();
        let axes = in_axes.spread("in_axes", leaves.len())?;
        let mut out: Option<R::Tree> = None;
        let batched = vmap_flat_with(&leaves, &axes, randomness, |xs| {
            let tree = f(&args.with_any_leaves(xs)?).into_tree()?;
            let leaves = tree.leaves();
            out = Some(tree);
            Ok(leaves)
        })?;
        let axes = out_axes.spread("out_axes", batched.len())?;
        let leaves = batched.at_axes(&axes)?;
        out.expect("f ran").with_any_leaves(&leaves)
    }
}

/// The result of a function under a transform: a tree, or a `Result` of one.
pub trait Output {
    /// The tree.
    type Tree: Tree;
    /// The tree, or the function's own error.
    ///
    /// # Errors
    /// The function's own.
    fn into_tree(self) -> Result<Self::Tree>;
}

impl<T: Tree> Output for Result<T> {
    type Tree = T;
    fn into_tree(self) -> Result<T> {
        self
    }
}

macro_rules! outputs {
    ($($({$($g:ident),*})? $t:ty),* $(,)?) => {$(
        impl $(<$($g: Tree),*>)? Output for $t {
            type Tree = $t;
            fn into_tree(self) -> Result<$t> {
                Ok(self)
            }
        }
    )*};
}
outputs!(Array, {T} Vec<T>, {A, B} (A, B), {A, B, C} (A, B, C), {A, B, C, D} (A, B, C, D));
