//! Static fields: how `#[derive(Tree)]` describes a field that is not part of the tree.
//!
//! The macro calls `(&&&&&&Field(&self.field)).describe(to)`, and method resolution takes the first of these that the
//! field's type allows:
//!
//! 1. a tree is described as one, its arrays as constants: so numbers are compared by their bits at any depth;
//! 2. a reference or shared pointer (`&T`, `Arc<T>`, `Rc<T>`) is compared and copied as the `T` that it points to;
//! 3. any other `PartialEq + Clone` value is compared with `==`;
//! 4. an `Arc` of a sized type that can't be compared is refused,
//! 5. and one of an unsized type (`Arc<dyn Fn…>`) is compared by its address;
//! 6. everything else is refused, with the remedy.

use crate::tree::{Describe, Tree};
use std::borrow::Borrow;
use std::rc::Rc;
use std::sync::Arc;

/// A static field.
#[derive(Debug)]
pub struct Field<'a, T: ?Sized>(pub &'a T);

/// The requirement on a static field. It exists for the compiler's message, and is never used as a bound.
#[diagnostic::on_unimplemented(
    message = "a static field of type `{Self}` can't be compared, so `compile` would not notice when it changes",
    label = "not `PartialEq + Clone + Send + Sync + 'static`",
    note = "derive `PartialEq` and `Clone` for the type; a closure can be a `fn` pointer or an `Arc<dyn Fn(…) + Send + Sync>`, \
            which is compared by its address",
    note = "where no result of a function of the tree depends on the field, say so with `#[tree(ignore)]`"
)]
pub trait Comparable {}

/// Stage 1: trees.
pub trait OfTree {
    /// Describes the field.
    fn describe(&self, to: &mut Describe<'_>);
}
impl<T: Tree> OfTree for &&&&&Field<'_, T> {
    fn describe(&self, to: &mut Describe<'_>) {
        to.fixed(|to| self.0.describe(to));
    }
}

/// Stage 2: references and shared pointers.
pub trait OfShared {
    /// Describes the field.
    fn describe(&self, to: &mut Describe<'_>);
}
macro_rules! shared {
    ($($t:ty),*) => {$(
        impl<T> OfShared for &&&&Field<'_, $t>
        where
            T: ?Sized + ToOwned + PartialEq,
            T::Owned: Borrow<T> + PartialEq + Send + Sync + 'static,
        {
            fn describe(&self, to: &mut Describe<'_>) {
                to.owned::<T, T::Owned>(self.0, T::to_owned);
            }
        }
    )*};
}
shared!(&T, Arc<T>, Rc<T>);

/// Stage 3: values that can be compared and cloned.
pub trait OfValue {
    /// Describes the field.
    fn describe(&self, to: &mut Describe<'_>);
}
impl<T: PartialEq + Clone + Send + Sync + 'static> OfValue for &&&Field<'_, T> {
    fn describe(&self, to: &mut Describe<'_>) {
        to.value(self.0);
    }
}

/// Stage 4: an `Arc` of a sized type, which is refused.
pub trait OfSized {
    /// The type.
    type Target;
    /// Never compiles.
    fn describe(&self, to: &mut Describe<'_>)
    where
        Self::Target: Comparable;
}
impl<T> OfSized for &&Field<'_, Arc<T>> {
    type Target = T;
    fn describe(&self, _: &mut Describe<'_>)
    where
        T: Comparable,
    {
    }
}

/// Stage 5: an `Arc` of an unsized type.
pub trait OfObject {
    /// Describes the field.
    fn describe(&self, to: &mut Describe<'_>);
}
impl<T: ?Sized + Send + Sync + 'static> OfObject for &Field<'_, Arc<T>> {
    fn describe(&self, to: &mut Describe<'_>) {
        to.object(self.0);
    }
}

/// Stage 6: every other type, which is refused.
pub trait OfAny {
    /// The type.
    type Target: ?Sized;
    /// Never compiles.
    fn describe(&self, to: &mut Describe<'_>)
    where
        Self::Target: Comparable;
}
impl<T: ?Sized> OfAny for Field<'_, T> {
    type Target = T;
    fn describe(&self, _: &mut Describe<'_>)
    where
        T: Comparable,
    {
    }
}
