//! What `#[derive(Tree)]` writes, compiled and run against a small double of the library: the macro is tested for
//! itself, and the attribute that redirects it too.

use covector_derive::Tree;
use mock::tree::{Path, Tree};
use mock::{Array, Result};

/// The items that the macro refers to, with the signatures that the core gives them.
mod mock {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Array(pub(crate) f32);

    pub(crate) type Result<T> = std::result::Result<T, String>;

    pub(crate) mod tree {
        use super::{Array, Result};

        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Segment {
            Field(&'static str),
            Index(usize),
        }

        #[derive(Default)]
        pub(crate) struct Path(pub(crate) Vec<Segment>, pub(crate) bool);

        impl Path {
            pub(crate) fn kept<R>(&mut self, f: impl FnOnce(&mut Path) -> R) -> R {
                let kept = std::mem::replace(&mut self.1, true);
                let result = f(self);
                self.1 = kept;
                result
            }

            pub(crate) fn scope<R>(&mut self, segment: Segment, f: impl FnOnce(&mut Path) -> R) -> R {
                self.0.push(segment);
                let result = f(self);
                self.0.pop();
                result
            }
        }

        pub(crate) trait Tree: Sized {
            fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array));
            fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self>;
            fn describe(&self, to: &mut Describe<'_>);
        }

        /// The structure as text.
        #[derive(Default)]
        pub(crate) struct Describe<'a>(pub(crate) Vec<String>, std::marker::PhantomData<&'a ()>);

        impl Describe<'_> {
            pub(crate) fn node(&mut self, name: &'static str, fields: &'static [&'static str]) {
                self.0.push(format!("{name} {}", fields.join(" ")));
            }
            pub(crate) fn kept(&mut self, f: impl FnOnce(&mut Self)) {
                self.0.push("kept".to_owned());
                f(self);
            }
        }

        /// The stages of the real one; here all but the first tell the type.
        pub(crate) mod fixed {
            use super::{Describe, Tree};

            pub(crate) struct Field<'a, T: ?Sized>(pub(crate) &'a T);

            macro_rules! stages {
                ($($stage:ident {$($bounds:tt)*} $t:ty: |$x:ident, $to:ident| $describe:expr;)*) => {$(
                    pub(crate) trait $stage {
                        fn describe(&self, to: &mut Describe<'_>);
                    }
                    impl<T: $($bounds)*> $stage for $t {
                        fn describe(&self, $to: &mut Describe<'_>) {
                            let $x = self;
                            $describe
                        }
                    }
                )*};
            }
            stages! {
                OfTree {Tree} &&&&&Field<'_, T>: |x, to| x.0.describe(to);
                OfShared {Copy} &&&&Field<'_, std::sync::Arc<T>>: |_x, to| to.0.push("shared".to_owned());
                OfValue {PartialEq} &&&Field<'_, T>: |_x, to| to.0.push("value".to_owned());
                OfSized {Copy} &&Field<'_, std::rc::Rc<T>>: |_x, to| to.0.push("sized".to_owned());
                OfObject {?Sized} &Field<'_, std::sync::Arc<T>>: |_x, to| to.0.push("object".to_owned());
                OfAny {?Sized} Field<'_, T>: |_x, to| to.0.push("any".to_owned());
            }
        }

        impl Tree for Array {
            fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
                f(path, self);
            }
            fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                f(self)
            }
            fn describe(&self, to: &mut Describe<'_>) {
                to.0.push("leaf".to_owned());
            }
        }

        impl<T: Tree> Tree for Vec<T> {
            fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
                for (i, x) in self.iter().enumerate() {
                    path.scope(Segment::Index(i), |path| x.visit(path, f));
                }
            }
            fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                self.iter().map(|x| x.try_map(f)).collect()
            }
            fn describe(&self, to: &mut Describe<'_>) {
                to.0.push(self.len().to_string());
                self.iter().for_each(|x| x.describe(to));
            }
        }

        impl<T: Tree> Tree for Option<Box<T>> {
            fn visit<'a>(&'a self, path: &mut Path, f: &mut dyn FnMut(&Path, &'a Array)) {
                if let Some(x) = self {
                    x.visit(path, f);
                }
            }
            fn try_map(&self, f: &mut dyn FnMut(&Array) -> Result<Array>) -> Result<Self> {
                self.as_ref().map(|x| x.try_map(f).map(Box::new)).transpose()
            }
            fn describe(&self, to: &mut Describe<'_>) {
                self.iter().for_each(|x| x.describe(to));
            }
        }
    }
}

/// The leaves with their paths, as `.field[index]`.
fn leaves(tree: &impl Tree) -> Vec<(String, f32)> {
    let mut found = Vec::new();
    tree.visit(&mut Path::default(), &mut |path, leaf| {
        let path = path.0.iter().map(|segment| match segment {
            mock::tree::Segment::Field(name) => format!(".{name}"),
            mock::tree::Segment::Index(index) => format!("[{index}]"),
        });
        found.push((path.collect(), leaf.0));
    });
    found
}

fn doubled<T: Tree>(tree: &T) -> T {
    tree.try_map(&mut |x| Ok(Array(x.0 * 2.0))).expect("doubling does not fail")
}

fn list(expected: &[(&str, f32)]) -> Vec<(String, f32)> {
    expected.iter().map(|(path, value)| ((*path).to_owned(), *value)).collect()
}

#[derive(Tree, Clone, Debug, PartialEq)]
#[tree(crate = "crate::mock")]
struct Linear {
    weight: Array,
    bias: Array,
}

fn linear(weight: f32, bias: f32) -> Linear {
    Linear { weight: Array(weight), bias: Array(bias) }
}

#[test]
fn named_fields_in_order_of_declaration() {
    #[derive(Tree)]
    #[tree(crate = "mock")]
    struct Mlp {
        layers: Vec<Linear>,
        r#type: Array,
    }
    let mlp = Mlp { layers: vec![linear(1.0, 2.0), linear(3.0, 4.0)], r#type: Array(5.0) };
    let paths = [".layers[0].weight", ".layers[0].bias", ".layers[1].weight", ".layers[1].bias", ".type"];
    let expect = |scale: f32| {
        (1u8..).zip(paths).map(|(n, p)| (p.to_owned(), scale * f32::from(n))).collect::<Vec<_>>()
    };
    assert_eq!(leaves(&mlp), expect(1.0));
    assert_eq!(leaves(&doubled(&mlp)), expect(2.0));
}

#[test]
fn tuple_and_unit_structs() {
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Pair(Array, #[tree(skip)] u8, Array);
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Nothing;
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Empty {}

    let pair = doubled(&Pair(Array(1.0), 7, Array(2.0)));
    assert_eq!(leaves(&pair), list(&[("[0]", 2.0), ("[2]", 4.0)]));
    assert_eq!(pair.1, 7);
    assert_eq!(leaves(&doubled(&Nothing)), []);
    assert_eq!(leaves(&doubled(&Empty {})), []);
}

#[test]
fn an_enum_keeps_its_variant() {
    #[derive(Tree, Debug, PartialEq)]
    #[tree(crate = "crate::mock")]
    enum Layer {
        Linear(Linear),
        Norm { scale: Array },
        Relu,
    }
    let layers = vec![Layer::Linear(linear(1.0, 2.0)), Layer::Relu, Layer::Norm { scale: Array(3.0) }];
    assert_eq!(leaves(&layers), list(&[("[0][0].weight", 1.0), ("[0][0].bias", 2.0), ("[2].scale", 3.0)]));
    let twice = vec![Layer::Linear(linear(2.0, 4.0)), Layer::Relu, Layer::Norm { scale: Array(6.0) }];
    assert_eq!(doubled(&layers), twice);
}

#[test]
fn an_enum_without_variants() {
    #[derive(Tree, Debug)]
    #[tree(crate = "crate::mock")]
    enum Never {}
    assert_eq!(leaves(&Vec::<Never>::new()), []);
}

#[test]
fn a_skipped_field_is_cloned_and_not_visited() {
    // Not a tree.
    #[derive(Clone, Debug, PartialEq)]
    struct Config(&'static str);
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Model {
        #[tree(skip)]
        config: Config,
        weight: Array,
        #[tree(skip)]
        table: Array,
    }
    let model = doubled(&Model { config: Config("small"), weight: Array(1.0), table: Array(10.0) });
    assert_eq!(leaves(&model), list(&[(".weight", 2.0)]));
    assert_eq!((model.config, model.table), (Config("small"), Array(10.0)));
}

fn described(tree: &impl Tree) -> Vec<String> {
    let mut to = mock::tree::Describe::default();
    tree.describe(&mut to);
    to.0
}

#[test]
fn the_structure_has_variants_static_fields_and_roles() {
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    enum Layer {
        Linear(Linear),
        Norm {
            scale: Array,
            #[tree(kept)]
            mean: Array,
            #[tree(skip)]
            epsilon: f32,
            #[tree(ignore)]
            calls: std::cell::Cell<u32>,
        },
        Relu,
    }
    let norm = Layer::Norm { scale: Array(1.0), mean: Array(2.0), epsilon: 0.0, calls: 3.into() };
    let layers = vec![Layer::Relu, norm, Layer::Linear(linear(1.0, 2.0))];
    let expected = "3,Layer::Relu ,Layer::Norm scale mean epsilon,leaf,kept,leaf,value,Layer::Linear 0,\
                    Linear weight bias,leaf,leaf";
    assert_eq!(described(&layers).join(","), expected);
    let mut roles = Vec::new();
    layers.visit(&mut Path::default(), &mut |path, _| roles.push(path.1));
    assert_eq!(roles, [false, true, false, false]);
    match &doubled(&layers)[1] {
        Layer::Norm { scale, mean, epsilon, calls } => {
            assert_eq!((scale, mean, epsilon, calls.get()), (&Array(2.0), &Array(4.0), &0.0, 3));
        }
        _ => panic!("the variant stays"),
    }
}

#[test]
fn a_static_field_is_described_at_the_first_stage_that_its_type_allows() {
    type Function = std::sync::Arc<dyn Fn(f32) -> f32>;
    #[derive(Clone, Copy)]
    struct Opaque;
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Stages(
        #[tree(skip)] Vec<Array>,
        #[tree(skip)] std::sync::Arc<u8>,
        #[tree(skip)] fn(f32) -> f32,
        #[tree(skip)] std::rc::Rc<Opaque>,
        #[tree(skip)] Function,
        #[tree(skip)] Opaque,
    );
    let function: Function = std::sync::Arc::new(|x| x);
    let stages = Stages(vec![Array(1.0)], 1.into(), f32::abs, Opaque.into(), function, Opaque);
    assert_eq!(described(&stages)[1..], ["1", "leaf", "shared", "value", "sized", "object", "any"]);
}

#[test]
fn generics_lifetimes_and_consts() {
    trait Kind {
        type State;
    }
    struct Momentum;
    impl Kind for Momentum {
        type State = Vec<Array>;
    }
    // `Momentum` is no tree: only what it points to has to be one.
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Slot<'a, T, K: Kind, const N: usize>
    where
        T: Clone,
    {
        value: Vec<T>,
        state: K::State,
        #[tree(skip)]
        name: &'a str,
        #[tree(skip)]
        shape: [usize; N],
        #[tree(skip)]
        kind: std::marker::PhantomData<K>,
    }
    let slot = Slot::<'_, _, Momentum, 2> {
        value: vec![linear(1.0, 2.0)],
        state: vec![Array(3.0)],
        name: &String::from("slot"),
        shape: [4, 5],
        kind: std::marker::PhantomData,
    };
    let twice = doubled(&slot);
    assert_eq!(
        leaves(&twice),
        list(&[(".value[0].weight", 2.0), (".value[0].bias", 4.0), (".state[0]", 6.0)])
    );
    assert_eq!((twice.name, twice.shape), (slot.name, [4, 5]));
    let std::marker::PhantomData = twice.kind;
}

#[test]
fn a_type_may_contain_itself() {
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    struct Chain<T> {
        head: T,
        tail: Option<Box<Chain<T>>>,
    }
    let chain = Chain { head: Array(1.0), tail: Some(Box::new(Chain { head: Array(2.0), tail: None })) };
    assert_eq!(leaves(&doubled(&chain)), list(&[(".head", 2.0), (".tail.head", 4.0)]));
}

#[test]
fn the_first_error_ends_the_mapping() {
    let mut seen = 0;
    let result: Result<Linear> = linear(1.0, 2.0).try_map(&mut |_| {
        seen += 1;
        Err("no".to_owned())
    });
    assert_eq!((result, seen), (Err("no".to_owned()), 1));
}

#[test]
fn leaves_outlive_the_walk() {
    let tree = linear(1.0, 2.0);
    let mut borrowed: Vec<&Array> = Vec::new();
    tree.visit(&mut Path::default(), &mut |_, leaf| borrowed.push(leaf));
    assert_eq!(borrowed, [&tree.weight, &tree.bias]);
}

#[test]
fn names_of_the_users_do_not_clash() {
    // Everything the expansion could mix up with its own names, and shadowed prelude names.
    #[derive(Tree)]
    #[tree(crate = "crate::mock")]
    #[expect(non_camel_case_types, reason = "names chosen to clash")]
    enum Result {
        Ok { __path: Array, __f: Array, f: Array },
        Err(Array),
        visit,
    }
    let tree = doubled(&Result::Ok { __path: Array(1.0), __f: Array(2.0), f: Array(3.0) });
    assert_eq!(leaves(&tree), list(&[(".__path", 2.0), (".__f", 4.0), (".f", 6.0)]));
}
