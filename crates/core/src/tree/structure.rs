//! The structure of a tree: everything in it but the values of its arrays.
//!
//! A tree describes its structure to a [`Describe`]. The same walk either makes a [`Structure`] or compares the tree with
//! an existing one. So both agree on the parts that count, and a comparison allocates nothing.

use crate::array::Array;
use crate::tree::{Role, Tree};
use std::any::{Any, type_name};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A copy of a static value, compared with others of its type.
trait Value: Send + Sync {
    fn equals(&self, other: &dyn Any) -> bool;
    fn get(&self) -> &dyn Any;
    fn type_name(&self) -> &'static str;
}

impl<T: PartialEq + Send + Sync + 'static> Value for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| self == other)
    }
    fn get(&self) -> &dyn Any {
        self
    }
    fn type_name(&self) -> &'static str {
        type_name::<T>()
    }
}

/// One step of the walk over a tree.
enum Token {
    Leaf(Role),
    /// A struct or a variant of an enum: its name and those of its fields.
    Node(&'static str, &'static [&'static str]),
    /// A list, a tuple or a map, and its number of items.
    List(&'static str, usize),
    Text(Box<str>),
    /// A number: its type and its bits, so that NaN is equal to itself and −0 is not 0.
    Number(&'static str, u128),
    /// An array in a static field, compared by identity.
    Constant(Array),
    /// An object that is compared by its address. The token keeps it alive, so that no other object gets the address.
    Object {
        address: usize,
        type_name: &'static str,
        _keep: Box<dyn Any + Send + Sync>,
    },
    Value(Box<dyn Value>),
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Token::Leaf(a), Token::Leaf(b)) => a == b,
            (Token::Node(a, fields), Token::Node(b, others)) => a == b && fields == others,
            (Token::List(a, m), Token::List(b, n)) => a == b && m == n,
            (Token::Text(a), Token::Text(b)) => a == b,
            (Token::Number(a, x), Token::Number(b, y)) => a == b && x == y,
            (Token::Constant(a), Token::Constant(b)) => a.is_same(b),
            (Token::Object { address: a, .. }, Token::Object { address: b, .. }) => a == b,
            (Token::Value(a), Token::Value(b)) => a.equals(b.get()),
            _ => false,
        }
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Token::Leaf(role) => role.hash(state),
            Token::Node(name, fields) => (name, fields).hash(state),
            Token::List(kind, len) => (kind, len).hash(state),
            Token::Text(text) => text.hash(state),
            Token::Number(kind, bits) => (kind, bits).hash(state),
            Token::Constant(array) => array.aval().hash(state),
            Token::Object { address, .. } => address.hash(state),
            // Values need not implement `Hash`; equal values have at least equal types.
            Token::Value(value) => value.get().type_id().hash(state),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Leaf(Role::Trained) => f.write_str("array"),
            Token::Leaf(Role::Kept) => f.write_str("kept array"),
            Token::Node(name, []) => f.write_str(name),
            Token::Node(name, fields) => write!(f, "{name} {{{}}}", fields.join(", ")),
            Token::List(kind, len) => write!(f, "{kind} of {len}"),
            Token::Text(text) => write!(f, "{text:?}"),
            Token::Number("bool", bits) => write!(f, "{}", *bits != 0),
            Token::Number("char", bits) => write!(f, "{:?}", char::from_u32(*bits as u32).unwrap_or('\0')),
            Token::Number("f32", bits) => write!(f, "{:?}f32", f32::from_bits(*bits as u32)),
            Token::Number("f64", bits) => write!(f, "{:?}f64", f64::from_bits(*bits as u64)),
            Token::Number(kind, bits) if kind.starts_with('i') => write!(f, "{}{kind}", *bits as i128),
            Token::Number(kind, bits) => write!(f, "{bits}{kind}"),
            Token::Constant(array) => write!(f, "constant {:?}", array.aval()),
            Token::Object { address, type_name, .. } => write!(f, "{type_name} at {address:#x}"),
            Token::Value(value) => f.write_str(value.type_name()),
        }
    }
}

/// The structure of a tree: kinds, variants, keys, lengths, roles of leaves and static values. What JAX calls a treedef.
///
/// Two trees may share a trace only where their structures are equal and their arrays agree in shapes and types.
///
/// ```
/// use covector_core::{Array, Tree};
/// let of = |x: f32, n: usize| (Array::scalar(x), n).structure();
/// assert_eq!(of(1.0, 2), of(5.0, 2));
/// assert_ne!(of(1.0, 2), of(1.0, 3));
/// assert_eq!(format!("{:?}", of(1.0, 2)), "[tuple of 2, array, 2usize]");
/// ```
#[derive(Clone, PartialEq, Hash)]
pub struct Structure {
    tokens: Arc<[Token]>,
}

impl Structure {
    /// The structure of a tree.
    pub fn of<T: Tree>(tree: &T) -> Self {
        let mut to = Describe { mode: Mode::Record(Vec::new()), role: Role::Trained, fixed: false };
        tree.describe(&mut to);
        match to.mode {
            Mode::Record(tokens) => Self { tokens: tokens.into() },
            Mode::Compare { .. } => unreachable!("made to record"),
        }
    }

    /// Whether `tree` has this structure: `Structure::of(tree) == *self` without making one.
    pub fn fits<T: Tree>(&self, tree: &T) -> bool {
        let mode = Mode::Compare { rest: self.tokens.iter(), same: true };
        let mut to = Describe { mode, role: Role::Trained, fixed: false };
        tree.describe(&mut to);
        matches!(to.mode, Mode::Compare { rest, same: true } if rest.as_slice().is_empty())
    }
}

impl fmt::Debug for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens.iter()).finish()
    }
}

enum Mode<'a> {
    Record(Vec<Token>),
    Compare { rest: std::slice::Iter<'a, Token>, same: bool },
}

/// Receives the structure of a tree, part by part; see [`Tree::describe`].
///
/// An implementation of [`Tree`] by hand describes everything that can differ between two values of its type, apart
/// from the values of its arrays. `compile` takes parts that are left out to be equal.
pub struct Describe<'a> {
    mode: Mode<'a>,
    role: Role,
    /// Inside a static field, where an array is a constant.
    fixed: bool,
}

impl Describe<'_> {
    #[inline]
    fn put(&mut self, fits: impl FnOnce(&Token) -> bool, make: impl FnOnce() -> Token) {
        match &mut self.mode {
            Mode::Record(tokens) => tokens.push(make()),
            Mode::Compare { rest, same } => *same = *same && rest.next().is_some_and(fits),
        }
    }

    /// An array. Its shape and type are not part of the structure. In a [static part](Describe::fixed), the array itself
    /// is part of the structure, and is compared by identity.
    pub fn leaf(&mut self, array: &Array) {
        if self.fixed {
            self.put(
                |t| matches!(t, Token::Constant(a) if a.is_same(array)),
                || Token::Constant(array.clone()),
            );
        } else {
            let role = self.role;
            self.put(|t| matches!(t, Token::Leaf(r) if *r == role), || Token::Leaf(role));
        }
    }

    /// A struct, or one variant of an enum, by its name, and the names of its fields. The fields are described next.
    pub fn node(&mut self, name: &'static str, fields: &'static [&'static str]) {
        self.put(
            |t| matches!(t, Token::Node(n, f) if *n == name && *f == fields),
            || Token::Node(name, fields),
        );
    }

    /// A list, a tuple or a map, by a word for it and the number of its items. The items are described next, those of a
    /// map each after its key.
    pub fn list(&mut self, kind: &'static str, len: usize) {
        self.put(|t| matches!(t, Token::List(k, n) if *k == kind && *n == len), || Token::List(kind, len));
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.put(|t| matches!(t, Token::Text(other) if **other == *text), || Token::Text(text.into()));
    }

    /// A number by its bits, so that NaN is equal to itself and −0 is not 0.
    pub(super) fn number(&mut self, kind: &'static str, bits: u128) {
        self.put(
            |t| matches!(t, Token::Number(k, b) if *k == kind && *b == bits),
            || Token::Number(kind, bits),
        );
    }

    /// A static value, which is compared with `==`. Its clone must not change with the original.
    pub fn value<T: PartialEq + Clone + Send + Sync + 'static>(&mut self, value: &T) {
        self.owned(value, T::clone);
    }

    /// [`Describe::value`] of a borrowed value; `own` makes the copy that is kept.
    pub(super) fn owned<T, O>(&mut self, value: &T, own: impl FnOnce(&T) -> O)
    where
        T: ?Sized + PartialEq,
        O: std::borrow::Borrow<T> + PartialEq + Send + Sync + 'static,
    {
        self.put(
            |t| {
                let Token::Value(kept) = t else { return false };
                kept.get().downcast_ref::<O>().is_some_and(|kept| kept.borrow() == value)
            },
            || Token::Value(Box::new(own(value))),
        );
    }

    /// A shared object that can't be compared, by its address.
    pub(super) fn object<T: ?Sized + Send + Sync + 'static>(&mut self, object: &Arc<T>) {
        let address = Arc::as_ptr(object).cast::<()>() as usize;
        self.put(
            |t| matches!(t, Token::Object { address: other, .. } if *other == address),
            || Token::Object { address, type_name: type_name::<T>(), _keep: Box::new(object.clone()) },
        );
    }

    /// Describes the leaves that `f` describes as kept; see [`Role`].
    pub fn kept(&mut self, f: impl FnOnce(&mut Self)) {
        let role = std::mem::replace(&mut self.role, Role::Kept);
        f(self);
        self.role = role;
    }

    /// Describes the part that `f` describes as static: an array in it is a constant.
    pub fn fixed(&mut self, f: impl FnOnce(&mut Self)) {
        let fixed = std::mem::replace(&mut self.fixed, true);
        f(self);
        self.fixed = fixed;
    }
}

impl fmt::Debug for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Describe")
            .field("role", &self.role)
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::hash_map::DefaultHasher;

    fn hash(s: &Structure) -> u64 {
        let mut state = DefaultHasher::new();
        s.hash(&mut state);
        state.finish()
    }

    #[test]
    fn equal_structures_have_equal_hashes_and_a_structure_fits_its_tree() {
        let tree = (vec![Some(Array::scalar(1.0f32)), None], f32::NAN, String::from("a"), true);
        let other = (vec![Some(Array::scalar(2.0f32)), None], f32::NAN, String::from("a"), true);
        assert_eq!(tree.structure(), other.structure());
        assert_eq!(hash(&tree.structure()), hash(&other.structure()));
        assert!(tree.structure().fits(&other));
        let text = r#"[tuple of 4, list of 2, Some, array, None, NaNf32, "a", true]"#;
        assert_eq!(format!("{:?}", tree.structure()), text);
    }

    #[test]
    fn a_tree_that_ends_sooner_or_later_does_not_fit() {
        let short = vec![Array::scalar(1.0f32)];
        let long = vec![Array::scalar(1.0f32), Array::scalar(1.0f32)];
        assert!(!short.structure().fits(&long) && !long.structure().fits(&short));
        assert!(!().structure().fits(&1u8));
    }

    #[test]
    fn static_values_are_compared_by_their_type_and_value() {
        struct Fixed<T>(T);
        impl<T: PartialEq + Clone + Send + Sync + 'static> Tree for Fixed<T> {
            fn visit<'a>(
                &'a self,
                _: &mut crate::tree::Path,
                _: &mut dyn FnMut(&crate::tree::Path, &'a Array),
            ) {
            }
            fn try_map(&self, _: &mut dyn FnMut(&Array) -> crate::Result<Array>) -> crate::Result<Self> {
                Ok(Fixed(self.0.clone()))
            }
            fn describe(&self, to: &mut Describe<'_>) {
                to.value(&self.0);
            }
        }
        assert_eq!(Fixed(vec![1u8]).structure(), Fixed(vec![1u8]).structure());
        assert_ne!(Fixed(vec![1u8]).structure(), Fixed(vec![2u8]).structure());
        assert_ne!(Fixed(1u8).structure(), Fixed(1i8).structure());
    }
}
