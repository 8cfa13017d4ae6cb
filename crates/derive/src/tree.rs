//! `#[derive(Tree)]`.
//!
//! Structs and enums use the same code: a struct is an enum with one variant called `Self`, and `Self { 0: x }` is both a
//! pattern and an expression, for tuples as well as for named fields. So all six cases share one form of a match arm.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, Data, DeriveInput, Fields, Generics, Ident, Member, Type, parse_quote};

/// A field, with the data that the walks need.
struct Field<'a> {
    member: Member,
    /// The field's name in patterns.
    binding: Ident,
    ty: &'a Type,
    part: Part,
}

/// The role of a field in the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A part whose leaves keep their roles.
    Tree,
    /// A part whose leaves are kept.
    Kept,
    /// A static value, which is part of the structure.
    Static,
    /// A value on which no result depends.
    Ignored,
}

impl Part {
    fn is_visited(self) -> bool {
        matches!(self, Part::Tree | Part::Kept)
    }
}

/// One variant of an enum, or a struct.
struct Variant<'a> {
    /// `Self` or `Self::Name`.
    path: TokenStream,
    /// The name in a structure.
    name: String,
    fields: Vec<Field<'a>>,
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let krate = errors.take(crate_path(&input.attrs)).flatten().unwrap_or_else(|| parse_quote!(::covector));
    let variants = match &input.data {
        Data::Struct(data) => {
            let name = input.ident.unraw().to_string();
            vec![Variant { path: quote!(Self), name, fields: fields(&data.fields, &mut errors) }]
        }
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                errors.take(no_attribute(&variant.attrs));
                let ident = &variant.ident;
                let name = format!("{}::{}", input.ident.unraw(), ident.unraw());
                Variant { path: quote!(Self::#ident), name, fields: fields(&variant.fields, &mut errors) }
            })
            .collect(),
        Data::Union(data) => {
            let message = "a union cannot be a `Tree`: nothing tells which of its fields holds the arrays. \
                           Use an enum, whose variants say it";
            errors.push(syn::Error::new(data.union_token.span, message));
            Vec::new()
        }
    };
    errors.finish()?;

    // Hygienic names: the user's tokens cannot see them, and they cannot see the user's.
    let [path, f, to] = ["__path", "__f", "__to"].map(|name| Ident::new(name, Span::mixed_site()));
    let visits = variants.iter().map(|variant| visit_arm(variant, &krate, &path, &f));
    let maps = variants.iter().map(|variant| map_arm(variant, &krate, &f));
    let descriptions = variants.iter().map(|variant| describe_arm(variant, &krate, &to));
    // A match without arms is valid for an empty enum, but not for a reference to one.
    let scrutinee = if variants.is_empty() { quote!(*self) } else { quote!(self) };

    let name = &input.ident;
    let generics = bounded(&input.generics, &variants, &krate);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #krate::tree::Tree for #name #type_generics #where_clause {
            fn visit<'__tree>(
                &'__tree self,
                #path: &mut #krate::tree::Path,
                #f: &mut dyn ::core::ops::FnMut(&#krate::tree::Path, &'__tree #krate::Array),
            ) {
                match #scrutinee {
                    #(#visits)*
                }
            }

            fn try_map(
                &self,
                #f: &mut dyn ::core::ops::FnMut(&#krate::Array) -> #krate::Result<#krate::Array>,
            ) -> #krate::Result<Self> {
                match #scrutinee {
                    #(#maps)*
                }
            }

            fn describe(&self, #to: &mut #krate::tree::Describe<'_>) {
                match #scrutinee {
                    #(#descriptions)*
                }
            }
        }
    })
}

fn visit_arm(variant: &Variant<'_>, krate: &syn::Path, path: &Ident, f: &Ident) -> TokenStream {
    let visited = || variant.fields.iter().filter(|field| field.part.is_visited());
    let patterns = visited().map(|Field { member, binding, .. }| quote!(#member: #binding));
    let calls = visited().map(|Field { member, binding, ty, part }| {
        let segment = match member {
            Member::Named(name) => {
                let name = name.unraw().to_string();
                quote!(#krate::tree::Segment::Field(#name))
            }
            Member::Unnamed(index) => {
                let index = index.index as usize;
                quote!(#krate::tree::Segment::Index(#index))
            }
        };
        // With the span of the type, so that "the trait `Tree` is not implemented" points to the field instead of the
        // derive.
        let visit = quote_spanned!(ty.span()=> <#ty as #krate::tree::Tree>::visit);
        let mut call = quote!(#visit(#binding, #path, &mut *#f));
        if *part == Part::Kept {
            call = quote!(#krate::tree::Path::kept(#path, |#path| #call));
        }
        quote!(#krate::tree::Path::scope(#path, #segment, |#path| #call);)
    });
    let variant_path = &variant.path;
    quote!(#variant_path { #(#patterns,)* .. } => { #(#calls)* })
}

fn describe_arm(variant: &Variant<'_>, krate: &syn::Path, to: &Ident) -> TokenStream {
    let described = || variant.fields.iter().filter(|field| field.part != Part::Ignored);
    let patterns = described().map(|Field { member, binding, .. }| quote!(#member: #binding));
    let names = described().map(|Field { member, .. }| match member {
        Member::Named(name) => name.unraw().to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    });
    let calls = described().map(|Field { binding, ty, part, .. }| {
        let describe = quote_spanned!(ty.span()=> <#ty as #krate::tree::Tree>::describe);
        match part {
            Part::Static => {
                // The first stage that the type allows; see the module `fixed` of the core. The span is for the message.
                let field =
                    quote_spanned!(ty.span()=> (&&&&&&#krate::tree::fixed::Field(#binding)).describe(#to));
                quote!({
                    #[allow(unused_imports, reason = "one of them is used")]
                    use #krate::tree::fixed::{
                        OfAny as _, OfObject as _, OfShared as _, OfSized as _, OfTree as _, OfValue as _,
                    };
                    #[allow(clippy::needless_borrow, reason = "each is a stage")]
                    #field;
                })
            }
            Part::Kept => quote!(#krate::tree::Describe::kept(#to, |#to| #describe(#binding, #to));),
            Part::Tree | Part::Ignored => quote!(#describe(#binding, #to);),
        }
    });
    let (variant_path, name) = (&variant.path, &variant.name);
    quote!(#variant_path { #(#patterns,)* .. } => {
        #krate::tree::Describe::node(#to, #name, &[#(#names),*]);
        #(#calls)*
    })
}

fn map_arm(variant: &Variant<'_>, krate: &syn::Path, f: &Ident) -> TokenStream {
    let patterns = variant.fields.iter().map(|Field { member, binding, .. }| quote!(#member: #binding));
    let values = variant.fields.iter().map(|Field { member, binding, ty, part }| {
        if !part.is_visited() {
            let clone = quote_spanned!(ty.span()=> <#ty as ::core::clone::Clone>::clone);
            quote!(#member: #clone(#binding))
        } else {
            let try_map = quote_spanned!(ty.span()=> <#ty as #krate::tree::Tree>::try_map);
            quote!(#member: #try_map(#binding, &mut *#f)?)
        }
    });
    let variant_path = &variant.path;
    quote!(#variant_path { #(#patterns),* } => ::core::result::Result::Ok(#variant_path { #(#values),* }),)
}

fn fields<'a>(fields: &'a Fields, errors: &mut Errors) -> Vec<Field<'a>> {
    let fields = fields.members().zip(fields).enumerate();
    fields
        .map(|(i, (member, field))| Field {
            member,
            binding: format_ident!("__field{i}", span = Span::mixed_site()),
            ty: &field.ty,
            part: errors.take(part(&field.attrs)).unwrap_or(Part::Tree),
        })
        .collect()
}

/// The type's generics with the bounds that the fields require. The bounds are on parameters instead of on field types,
/// because `struct List<T> { head: T, tail: Option<Box<List<T>>> }` would otherwise require its own bound.
fn bounded(generics: &Generics, variants: &[Variant<'_>], krate: &syn::Path) -> Generics {
    let params: Vec<&Ident> = generics.type_params().map(|param| &param.ident).collect();
    if params.is_empty() {
        return generics.clone();
    }
    let mut bounded = generics.clone();
    let predicates = &mut bounded.make_where_clause().predicates;
    let mut trees: Vec<&Ident> = Vec::new();
    for Field { ty, part, .. } in variants.iter().flat_map(|variant| &variant.fields) {
        let mut uses = Uses::default();
        uses.look_through(ty.to_token_stream(), &params);
        if !part.is_visited() {
            // `PhantomData<T>` implements all traits for every `T`.
            if (uses.projected || !uses.whole.is_empty()) && !is_phantom(ty) {
                predicates.push(match part {
                    Part::Static => parse_quote!(#ty: ::core::clone::Clone + ::core::cmp::PartialEq
                        + ::core::marker::Send + ::core::marker::Sync + 'static),
                    _ => parse_quote!(#ty: ::core::clone::Clone),
                });
            }
        } else {
            trees.extend(params.iter().filter(|param| uses.whole.contains(param)));
            if uses.projected {
                predicates.push(parse_quote!(#ty: #krate::tree::Tree));
            }
        }
    }
    for param in params.iter().filter(|param| trees.contains(param)) {
        predicates.push(parse_quote!(#param: #krate::tree::Tree));
    }
    bounded
}

fn is_phantom(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "PhantomData"))
}

/// How a field's type uses the type parameters.
#[derive(Default)]
struct Uses {
    /// The parameters that the field uses as types.
    whole: Vec<Ident>,
    /// Whether the field uses a projection of a parameter, such as `T::Item` or `<T as Iterator>::Item`.
    projected: bool,
}

impl Uses {
    /// Finds parameters among tokens. This is exact: a parameter's name has no other meaning in the type.
    fn look_through(&mut self, tokens: TokenStream, params: &[&Ident]) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.look_through(group.stream(), params),
                TokenTree::Ident(ident) if params.contains(&&ident) => match tokens.peek() {
                    Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => self.projected = true,
                    Some(TokenTree::Ident(next)) if next == "as" => self.projected = true,
                    _ => self.whole.push(ident),
                },
                _ => {}
            }
        }
    }
}

/// The value of `#[tree(crate = "…")]`, if the attribute exists.
fn crate_path(attrs: &[Attribute]) -> syn::Result<Option<syn::Path>> {
    let mut path = None;
    for attr in tree_attributes(attrs) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                let of_fields = ["skip", "ignore", "kept"].into_iter().find(|name| meta.path.is_ident(name));
                let hint =
                    of_fields.map_or("unknown option".to_owned(), |name| format!("`{name}` goes on a field"));
                return Err(meta.error(format!("{hint}: a type takes `#[tree(crate = \"path\")]`")));
            }
            let value: syn::LitStr = meta.value()?.parse()?;
            if path.is_some() {
                return Err(meta.error("`crate` is given twice"));
            }
            path = Some(value.parse_with(syn::Path::parse_mod_style)?);
            Ok(())
        })?;
    }
    Ok(path)
}

/// The role that a field's attributes give it.
fn part(attrs: &[Attribute]) -> syn::Result<Part> {
    let mut found = Part::Tree;
    for attr in tree_attributes(attrs) {
        attr.parse_nested_meta(|meta| {
            let options = [("skip", Part::Static), ("ignore", Part::Ignored), ("kept", Part::Kept)];
            let Some((name, part)) = options.into_iter().find(|(name, _)| meta.path.is_ident(name)) else {
                return Err(meta.error(
                    "unknown option: a field takes `#[tree(skip)]`, `#[tree(ignore)]` or `#[tree(kept)]`",
                ));
            };
            if found == part {
                return Err(meta.error(format!("`{name}` is given twice")));
            }
            if found != Part::Tree {
                return Err(meta.error("a field is one of `skip`, `ignore` and `kept`"));
            }
            found = part;
            Ok(())
        })?;
    }
    Ok(found)
}

fn no_attribute(attrs: &[Attribute]) -> syn::Result<()> {
    match tree_attributes(attrs).next() {
        Some(attr) => {
            Err(syn::Error::new_spanned(attr, "`#[tree(…)]` goes on a variant's fields, not on the variant"))
        }
        None => Ok(()),
    }
}

fn tree_attributes(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("tree"))
}

/// All errors of an input, so that they are reported together.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(input: DeriveInput) -> Vec<String> {
        let error = expand(&input).expect_err("this input is to be refused");
        error.into_iter().map(|error| error.to_string()).collect()
    }

    fn where_clause(input: DeriveInput) -> String {
        let expanded = expand(&input).expect("valid input").to_string();
        let head = expanded.split('{').next().unwrap_or_default();
        head.find("where").map_or_else(String::new, |at| head[at..].trim().to_owned())
    }

    #[test]
    fn a_union_is_refused() {
        let said = errors(parse_quote!(
            union U {
                a: u32,
                b: f32,
            }
        ));
        assert!(said[0].contains("Use an enum"), "{said:?}");
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let said = errors(parse_quote! {
            #[tree(skip)]
            enum E {
                #[tree(skip)]
                A(#[tree(skipped)] Array),
                B { #[tree(skip, skip)] b: Array },
                C { #[tree(kept, ignore)] c: Array },
            }
        });
        assert_eq!(said.len(), 5, "{said:?}");
        assert!(said[0].contains("`skip` goes on a field"), "{said:?}");
        assert!(said[1].contains("not on the variant"), "{said:?}");
        assert!(said[2].contains("a field takes `#[tree(skip)]`"), "{said:?}");
        assert!(said[3].contains("twice"), "{said:?}");
        assert!(said[4].contains("one of"), "{said:?}");
    }

    #[test]
    fn the_crate_option_wants_a_path_once() {
        assert!(
            errors(parse_quote!(
                #[tree(crate = "1")]
                struct S;
            ))
            .len()
                == 1
        );
        assert!(
            errors(parse_quote!(
                #[tree(crate = core)]
                struct S;
            ))
            .len()
                == 1
        );
        assert!(
            errors(parse_quote!(
                #[tree(crate = "a", crate = "b")]
                struct S;
            ))[0]
                .contains("twice")
        );
        assert!(
            errors(parse_quote!(
                #[tree]
                struct S;
            ))[0]
                .contains("tree")
        );
    }

    #[test]
    fn the_library_is_found_where_the_attribute_says() {
        let by_default = expand(&parse_quote!(
            struct S;
        ))
        .expect("valid input")
        .to_string();
        assert!(by_default.contains(":: covector :: tree :: Tree for S"), "{by_default}");
        let said = expand(&parse_quote!(
            #[tree(crate = "a::b")]
            struct S;
        ))
        .expect("valid input")
        .to_string();
        assert!(said.contains("a :: b :: tree :: Tree for S") && !said.contains("covector"), "{said}");
    }

    #[test]
    fn bounds_follow_the_use_of_a_parameter() {
        assert_eq!(
            where_clause(parse_quote!(
                struct S<T> {
                    a: Vec<T>,
                    b: (T, u8),
                }
            )),
            "where T : :: covector :: tree :: Tree"
        );
        assert_eq!(
            where_clause(parse_quote!(
                struct S<T: Layer> {
                    a: T::State,
                }
            )),
            "where T :: State : :: covector :: tree :: Tree"
        );
        assert_eq!(
            where_clause(parse_quote!(
                struct S<T> {
                    #[tree(skip)]
                    a: PhantomData<T>,
                    #[tree(skip)]
                    b: u8,
                    #[tree(ignore)]
                    c: Vec<T>,
                }
            )),
            "where Vec < T > : :: core :: clone :: Clone"
        );
        assert_eq!(
            where_clause(parse_quote!(
                struct S<T> {
                    #[tree(skip)]
                    a: Vec<T>,
                }
            )),
            "where Vec < T > : :: core :: clone :: Clone + :: core :: cmp :: PartialEq + :: core :: marker :: Send + \
             :: core :: marker :: Sync + 'static"
        );
        assert_eq!(
            where_clause(parse_quote!(
                struct S<'a, const N: usize> {
                    a: [Array; N],
                    #[tree(skip)]
                    b: &'a str,
                }
            )),
            ""
        );
    }
}
