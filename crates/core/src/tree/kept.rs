//! Leaves that are kept and not trained.

use crate::array::Array;
use crate::error::Result;
use crate::tree::{Describe, Path, Tree};
use std::ops::{Deref, DerefMut};

/// The purpose of a leaf of a tree.
///
/// Both kinds are visited, mapped, saved, vectorised, compiled over and moved along with the rest of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// A parameter: transforms differentiate with respect to it, and optimizers change it.
    #[default]
    Trained,
    /// State beside the parameters, such as running statistics, a step counter or a random key. It may have any element
    /// type. To derivatives it is a constant: its gradient, tangent and cotangent are zeros. An optimizer leaves it as
    /// it is, and does not decay it. The function that computes a new one returns it beside the loss.
    Kept,
}

/// A part of a tree whose leaves are [kept](Role::Kept). It is the type for the attribute `#[tree(kept)]` of a field.
///
/// ```
/// use covector_core::{Array, transforms::value_and_grad, tree::Kept};
/// // Weights, and a count of the calls, which is an integer.
/// let params = (Array::new([1.0f32, 2.0]), Kept(Array::scalar(7i32)));
/// let loss = |(w, calls): &(Array, Kept<Array>)| (w.square().sum(), &**calls + 1);
/// let ((_, calls), (dw, zero)) = value_and_grad(loss)(&params)?;
/// assert_eq!(calls.item::<i32>(), 8);
/// assert_eq!(dw.to_vec::<f32>(), [2.0, 4.0]);
/// assert_eq!(zero.item::<i32>(), 0);
/// # Ok::<(), covector_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept<T>(
    /// The part.
    pub T,
);

impl<T> Deref for Kept<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Kept<T> {
    fn from(part: T) -> Self {
        Kept(part)
    }
}

impl<T: Tree> Tree for Kept<T> {
    fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
        path.kept(|path| self.0.visit(path, f));
    }
    fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
        self.0.try_map(f).map(Kept)
    }
    fn describe(&self, to: &mut Describe<'_>) {
        to.kept(|to| self.0.describe(to));
    }
}
