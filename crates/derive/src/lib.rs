//! The derive macros of covector.
//!
//! Derived trees make parameters typed: transforms flatten a structure to its arrays and return the same structure, so
//! gradients have the fields of the parameters. The macro writes only the three walks that the trait requires. All
//! functions built on them are ordinary code in the core.

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
/// Every field's type must implement `Tree` itself. Structs may have named fields, numbered fields or none. For an enum,
/// the fields of the value's variant are visited, and a mapped tree has the same variant. A union cannot be a tree.
///
/// # Attributes
/// - `#[tree(kept)]` on a field: its leaves are state beside the parameters, such as running statistics or a counter.
///   They are visited, saved and mapped like others, may have any element type, and are neither differentiated nor
///   changed by an optimizer. The type `covector::tree::Kept` has the same effect.
/// - `#[tree(skip)]` on a field: a static value. Nothing in it is visited, and a mapped tree gets a clone of it. It is
///   part of the tree's structure, so `compile` traces again if it differs. Its type must be
///   `PartialEq + Clone + Send + Sync + 'static`, or a tree. A reference or shared pointer (`&T`, `Arc<T>`, `Rc<T>`) is
///   compared as the `T` that it points to, an `Arc<dyn Trait>` by its address, a `fn` pointer by the function. An array
///   in such a field is a constant for every transform.
/// - `#[tree(ignore)]` on a field: a value on which no result depends, such as a cache or a log. Nothing in it is
///   visited, and a mapped tree gets a clone of it. It is not part of the structure: a compiled function may run a trace
///   that was made with another value.
/// - `#[tree(crate = "path")]` on the type: the path of the library's items; the default is `::covector`. A crate that
///   depends on `covector-core` alone writes `#[tree(crate = "covector_core")]`. The path must have `Array`, `Result`,
///   and the module `tree`.
///
/// # Generics
/// A type parameter that a visited field uses gets the bound `Tree`. If the field uses only a projection of it, such as
/// `L::State`, the field's type gets the bound instead. If the type of a skipped field depends on a parameter, it gets
/// the bounds `PartialEq + Clone + Send + Sync + 'static`; the type of an ignored field gets the bound `Clone`.
#[proc_macro_derive(Tree, attributes(tree))]
pub fn derive_tree(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    tree::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
