//! The argument of a function that is differentiated: which leaves are trained, and which are kept.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::transforms::flat::Tracer;
use crate::tree::{Path, Role, Tree};

/// The leaves of an argument. Derivatives are taken with respect to the trained ones; the kept ones are constants.
#[derive(Debug)]
pub(super) struct Argument {
    leaves: Vec<Array>,
    kept: Vec<bool>,
}

impl Argument {
    /// The leaves of `tree`. Refuses a trained leaf whose type has no derivatives; the message names its path.
    pub(super) fn new<P: Tree>(op: &'static str, tree: &P) -> Result<Self> {
        let (mut leaves, mut kept, mut wrong) = (Vec::new(), Vec::new(), None);
        tree.visit(&mut Path::new(), &mut |path, x| {
            let is_kept = path.role() == Role::Kept;
            if !is_kept && wrong.is_none() && !x.dtype().is_inexact() {
                wrong = Some(Error::kind(
                    op,
                    format!(
                        "the argument{path} is {}; only floating-point and complex arrays have derivatives. Convert it \
                         with astype, capture it instead of passing it, or keep it in the tree with Kept or \
                         #[tree(kept)]",
                        x.dtype()
                    ),
                ));
            }
            leaves.push(x.clone());
            kept.push(is_kept);
        });
        match wrong {
            Some(error) => Err(error),
            None => Ok(Self { leaves, kept }),
        }
    }

    /// All the leaves, in order.
    pub(super) fn leaves(&self) -> &[Array] {
        &self.leaves
    }

    /// The trained ones of `leaves`, which has one array for each leaf of the argument.
    pub(super) fn trained_of(&self, leaves: Vec<Array>) -> Vec<Array> {
        if !self.kept.contains(&true) || leaves.len() != self.kept.len() {
            return leaves;
        }
        leaves.into_iter().zip(&self.kept).filter(|(_, kept)| !**kept).map(|(x, _)| x).collect()
    }

    /// The trained leaves.
    pub(super) fn trained(&self) -> Vec<Array> {
        self.trained_of(self.leaves.clone())
    }

    /// `tree`, whose leaves these are, with other trained leaves.
    pub(super) fn with_trained<P: Tree>(&self, tree: &P, trained: &[Array]) -> Result<P> {
        self.fill(tree, trained, |x| Ok(x.clone()))
    }

    /// A tree of derivatives: `trained` of the trained leaves, and zeros for kept ones.
    pub(super) fn derivatives<P: Tree>(&self, tree: &P, trained: &[Array]) -> Result<P> {
        self.fill(tree, trained, |x| Ok(ops::zeros_like(x)))
    }

    /// `tree` with `trained` in place of its trained leaves, and with `kept` applied to the others.
    pub(super) fn fill<P: Tree>(
        &self,
        tree: &P,
        trained: &[Array],
        kept: impl Fn(&Array) -> Result<Array>,
    ) -> Result<P> {
        if !self.kept.contains(&true) {
            return tree.with_any_leaves(trained);
        }
        let mut trained = trained.iter();
        let mut roles = self.kept.iter();
        tree.try_map(&mut |x| match roles.next() {
            Some(true) => kept(x),
            _ => Ok(trained.next().expect("one for each trained leaf").clone()),
        })
    }
}

/// Refuses a result that does not depend on the argument, if a value of the argument was read. A result computed from
/// that value is a constant, and its derivative would silently be zero.
pub(super) fn check_reads(op: &'static str, traced: &Tracer) -> Result<()> {
    match traced.lost_read() {
        None => Ok(()),
        Some(place) => Err(Error::not_differentiable(op, lost_read_message(&place.to_string()))),
    }
}

/// The message for a result that does not depend on the argument, after a value was read at `place`.
pub fn lost_read_message(place: &str) -> String {
    format!(
        "the result does not depend on the argument, but a value of the argument was read at {place}. A result \
        computed from that value is a constant, with a derivative of zero. Compute with the array itself; if a \
         constant is meant, read the value outside of the function"
    )
}
