//! The derive macros of covector.
//!
//! A derived tree is what makes parameters typed: transforms take a structure apart into its arrays and give the same
//! structure back, so gradients have the fields of what they are gradients of. The macro writes the two walks that
//! the trait asks for and nothing else; everything built on them is ordinary code in the core.

mod tree;

use proc_macro::TokenStream;

/// Implements `Tree` for a struct or an enum: its array leaves are those of its fields, in the order of declaration.
///
/// ```ignore
/// use covector::{Array, Tree};
///
/// #[derive(Tree, Clone)]
/// struct Linear {
///     weight: Array,
///     bias: Option<Array>,
/// }
///
/// #[derive(Tree, Clone)]
/// struct Mlp {
///     layers: Vec<Linear>, // a leaf's path reads `.layers[2].weight`
///     #[tree(skip)]
///     activation: fn(&Array) -> Array,
/// }
/// ```
///
/// Every field's type must implement `Tree` itself. Structs may have named fields, numbered ones or none; of an enum,
/// the fields of the variant at hand are visited, and a mapped tree has the same variant. A union cannot be a tree.
///
/// # Attributes
/// - `#[tree(skip)]` on a field: nothing in it is visited, and a mapped tree gets a clone of it. Its type must be
///   `Clone`, and need not be a tree. An array in such a field is a constant to every transform.
/// - `#[tree(crate = "path")]` on the type: where the library's items are found, `::covector` unless said otherwise.
///   A crate that depends on `covector-core` alone writes `#[tree(crate = "covector_core")]`. The path must lead to
///   `Array`, `Result`, and a module `tree` with `Tree`, `Path` and `Segment`.
///
/// # Generics
/// A type parameter that a visited field uses gets the bound `Tree`; where only a projection of it is used, such as
/// `L::State`, that field's type gets the bound instead. A skipped field whose type depends on a parameter gets the
/// bound `Clone`.
#[proc_macro_derive(Tree, attributes(tree))]
pub fn derive_tree(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    tree::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
