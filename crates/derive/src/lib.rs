//! The derive macros of covector.
//!
//! A derived tree is what makes parameters typed: transforms take a structure apart into its arrays and give the same
//! structure back, so gradients have the fields of what they are gradients of. The macro writes the three walks that
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
///     #[tree(kept)]
///     mean: Array, // saved and passed along, not trained
///     #[tree(skip)]
///     activation: fn(&Array) -> Array,
/// }
/// ```
///
/// Every field's type must implement `Tree` itself. Structs may have named fields, numbered ones or none; of an enum,
/// the fields of the variant at hand are visited, and a mapped tree has the same variant. A union cannot be a tree.
///
/// # Attributes
/// - `#[tree(kept)]` on a field: its leaves are state beside the parameters, such as running statistics or a counter.
///   They are visited, saved and mapped like others, may have any element type, and are neither differentiated nor
///   changed by an optimizer. The type `covector::tree::Kept` says the same.
/// - `#[tree(skip)]` on a field: a static value. Nothing in it is visited, and a mapped tree gets a clone of it. It is
///   part of the tree's structure, so `compile` traces again where it differs: its type must be
///   `PartialEq + Clone + Send + Sync + 'static`, or a tree. What is borrowed or shared (`&T`, `Arc<T>`, `Rc<T>`) is
///   compared as the `T` that it leads to, an `Arc<dyn Trait>` by its address, a `fn` pointer by the function. An array
///   in such a field is a constant to every transform.
/// - `#[tree(ignore)]` on a field: a value that does not matter. Nothing in it is visited, a mapped tree gets a clone of
///   it, and it is no part of the structure: a compiled function runs a trace that was made with another value of it.
///   For what no result depends on, such as a cache or a log.
/// - `#[tree(crate = "path")]` on the type: where the library's items are found, `::covector` unless said otherwise.
///   A crate that depends on `covector-core` alone writes `#[tree(crate = "covector_core")]`. The path must lead to
///   `Array`, `Result`, and the module `tree`.
///
/// # Generics
/// A type parameter that a visited field uses gets the bound `Tree`; where only a projection of it is used, such as
/// `L::State`, that field's type gets the bound instead. The type of a skipped field that depends on a parameter gets
/// the bounds `PartialEq + Clone + Send + Sync + 'static`, that of an ignored one the bound `Clone`.
#[proc_macro_derive(Tree, attributes(tree))]
pub fn derive_tree(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    tree::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
