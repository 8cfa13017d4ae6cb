//! The block in which an operation is written, and what it expands to.

pub(crate) mod operand;
pub mod sample;
pub mod spec;
pub mod special;

/// Defines operations, each by one block:
///
/// ```text
/// op! {
///     /// One axis moved to another place; the others keep their order.
///     pub fn moveaxis / try_moveaxis(x: &Array, source: isize, destination: isize)
///     python moveaxis(a: Array, /, source: isize, destination: isize, *) + method
///     samples {
///         [real([2, 3, 4])] |x| try_moveaxis(x, 0, -1);
///     }
///     { … }
/// }
/// ```
///
/// - The documentation serves Rust and Python. It ends, for Python, at the first heading or code block.
/// - `try_moveaxis` returns a `Result`; `moveaxis` panics at the caller's line. Where the first argument is an `&Array`, both are
///   methods, too. A block with one name makes the fallible function alone. Another result than an array stands
///   in parentheses behind the arguments: `-> (Vec<Array>)`. What fails inside, fails in the name of the operation that was
///   called.
/// - `once(x, y)`: computed in the type of their sums, and the result rounded once; see [`wide`](crate::wide).
/// - `python`: the Python function, if there is one with a plain signature: MLX's names, `/`, `*` and defaults, and types that
///   are read as [`Argument`](spec::Argument)s. `| name` adds further names, `-> Tuple` says what several results are
///   given as, and `+ method` makes it a method of `array` under the first name. Where its arguments are not those of the Rust function, `=> { … }`
///   says the call.
/// - `samples`: entries of the catalogue, each a list of [inputs](sample) and the call on them. `flat` in
///   front says that the derivative is zero or does not exist, `all` takes the inputs as a slice, and `from expression;`
///   adds entries that a function makes.
///
/// Behind the blocks, `also name samples { … }` adds entries for a function that is written without one.
macro_rules! op {
    (in $module:ident; $($items:tt)*) => { $crate::ops::block::op_items! { $module $($items)* } };
    ($($items:tt)*) => { $crate::ops::block::op_items! { Core $($items)* } };
}
pub(crate) use op;

macro_rules! op_items {
    ($module:ident $(
        $(#[doc = $doc:literal])*
        pub fn $name:ident $(/ $try_name:ident)? ($($signature:tt)*) $(-> ($ret:ty))? $(once $wide:tt)?
        $(python $python:ident $(| $alias:ident)* ($($params:tt)*) $(-> $returns:ident)? $(+ $method:ident)? $(=> $adapter:block)?)?
        samples $samples:tt
        $body:block
    )*
    $(also $also:ident samples $also_samples:tt)*) => {
        $($crate::ops::block::op_functions! {
            {$(#[doc = $doc])*} $name [$($try_name)?] ($($signature)*) [$($ret)?] [$($wide)?] $body
        })*

        /// A type for each operation of this file.
        #[allow(non_camel_case_types, reason = "the types have the operations' names")]
        pub(crate) mod registered {$(
            #[doc(hidden)]
            pub(crate) enum $name {}
        )*
        $(
            #[doc(hidden)]
            pub(crate) enum $also {}
        )*}

        $(impl $crate::ops::spec::Registered for registered::$name {
            fn spec() -> &'static $crate::ops::spec::OpSpec {
                static SPEC: $crate::ops::spec::OpSpec = $crate::ops::spec::OpSpec {
                    name: $crate::ops::block::op_name!($module $name),
                    doc: concat!($($doc, "\n"),*),
                    elementwise: None,
                    special: None,
                    python: $crate::ops::block::op_python!(
                        $module $name [$($try_name)?]
                        $($python [$($alias),*] ($($params)*) [$($returns)?] [$($method)?] [$($adapter)?])?
                    ),
                    samples: || $crate::ops::block::op_samples!($crate::ops::block::op_name!($module $name), $samples),
                };
                &SPEC
            }
        })*

        $(impl $crate::ops::spec::Registered for registered::$also {
            fn spec() -> &'static $crate::ops::spec::OpSpec {
                static SPEC: $crate::ops::spec::OpSpec = $crate::ops::spec::OpSpec {
                    name: $crate::ops::block::op_name!($module $also),
                    doc: "",
                    elementwise: None,
                    special: None,
                    python: None,
                    samples: || $crate::ops::block::op_samples!(
                        $crate::ops::block::op_name!($module $also), $also_samples
                    ),
                };
                &SPEC
            }
        })*

        /// Visits the operations of this file.
        pub(crate) fn visit(visitor: &mut impl $crate::ops::spec::Visitor) {
            $(visitor.op::<registered::$name>();)*
            $(visitor.op::<registered::$also>();)*
        }
    };
}
pub(crate) use op_items;

macro_rules! op_name {
    (Random $name:ident) => {
        concat!("random_", stringify!($name))
    };
    ($module:ident $name:ident) => {
        $crate::ops::spec::bare(stringify!($name))
    };
}
pub(crate) use op_name;

/// The functions and methods of a block.
macro_rules! op_functions {
    // Without a form that panics. It names itself in its errors.
    ({$(#[doc = $doc:literal])*} $name:ident [] ($($arg:ident: $ty:ty),* $(,)?) [$($ret:ty)?] [$($wide:tt)?] $body:block) => {
        $(#[doc = $doc])*
        pub fn $name($($arg: $ty),*) -> $crate::Result<$crate::ops::block::op_result!($($ret)?)> {
            $crate::ops::block::op_body!([$($wide)?] $body)
        }
    };
    // With methods.
    ({$(#[doc = $doc:literal])*} $name:ident [$try_name:ident] ($x:ident: &Array $(, $arg:ident: $ty:ty)* $(,)?)
        [$($ret:ty)?] [$($wide:tt)?] $body:block
    ) => {
        $crate::ops::block::op_functions! {
            @free {$(#[doc = $doc])*} $name [$try_name] ($x: &Array $(, $arg: $ty)*) [$($ret)?] [$($wide)?] $body
        }
        #[allow(clippy::same_name_method, reason = "the methods forward to the functions of the same name")]
        impl $crate::Array {
            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When shapes, axes, element types or values do not fit.
            #[track_caller]
            pub fn $name(&self $(, $arg: $ty)*) -> $crate::ops::block::op_result!($($ret)?) {
                $crate::error::expect($try_name(self $(, $arg)*))
            }

            $(#[doc = $doc])*
            ///
            /// # Errors
            /// When shapes, axes, element types or values do not fit.
            pub fn $try_name(&self $(, $arg: $ty)*) -> $crate::Result<$crate::ops::block::op_result!($($ret)?)> {
                $try_name(self $(, $arg)*)
            }
        }
    };
    ({$($docs:tt)*} $name:ident [$try_name:ident] $signature:tt $($rest:tt)*) => {
        $crate::ops::block::op_functions! { @free {$($docs)*} $name [$try_name] $signature $($rest)* }
    };
    (@free {$(#[doc = $doc:literal])*} $name:ident [$try_name:ident] ($($arg:ident: $ty:ty),* $(,)?)
        [$($ret:ty)?] [$($wide:tt)?] $body:block
    ) => {
        $(#[doc = $doc])*
        ///
        /// # Errors
        /// When shapes, axes, element types or values do not fit.
        pub fn $try_name($($arg: $ty),*) -> $crate::Result<$crate::ops::block::op_result!($($ret)?)> {
            $crate::error::named($crate::ops::spec::bare(stringify!($name)), || $crate::ops::block::op_body!([$($wide)?] $body))
        }

        $(#[doc = $doc])*
        ///
        /// # Panics
        /// When shapes, axes, element types or values do not fit.
        #[track_caller]
        pub fn $name($($arg: $ty),*) -> $crate::ops::block::op_result!($($ret)?) {
            $crate::error::expect($try_name($($arg),*))
        }
    };
}
pub(crate) use op_functions;

macro_rules! op_result {
    () => {
        $crate::Array
    };
    ($ret:ty) => {
        $ret
    };
}
pub(crate) use op_result;

macro_rules! op_body {
    ([($($wide:ident),+)] $body:block) => {
        $crate::wide::rounded_once([$($wide),+], |[$($wide),+]| $body)
    };
    ([] $body:block) => { $body };
}
pub(crate) use op_body;

/// The Python function of a block.
macro_rules! op_python {
    ($module:ident $name:ident [$($try_name:ident)?]) => {
        None
    };
    ($module:ident $name:ident [$($try_name:ident)?]
        $python:ident [$($alias:ident),*] ($($params:tt)*) [$($returns:ident)?] [$($method:ident)?] [$($adapter:block)?]
    ) => {
        Some($crate::ops::spec::Binding {
            module: $crate::ops::spec::Module::$module,
            names: &[stringify!($python) $(, stringify!($alias))*],
            signature: $crate::ops::block::op_signature!([] [] $($params)*),
            method: $crate::ops::block::op_flag!($($method)?),
            returns: $crate::ops::block::op_returns!($($returns)?),
            call: Some(|given| {
                let mut given = given.iter();
                let made = $crate::ops::block::op_call!(
                    given [$name $($try_name)?] [$($adapter)?] [] $($params)*
                );
                made.map($crate::ops::spec::Made::from)
            }),
        })
    };
}
pub(crate) use op_python;

macro_rules! op_flag {
    () => {
        false
    };
    (method) => {
        true
    };
}
pub(crate) use op_flag;

macro_rules! op_returns {
    () => {
        $crate::ops::spec::Returns::Array
    };
    ($returns:ident) => {
        $crate::ops::spec::Returns::$returns
    };
}
pub(crate) use op_returns;

/// A signature as a constant: the parameters, and the marks among them.
macro_rules! op_signature {
    ([$($done:expr,)*] [$($mark:ident)*]) => {
        $crate::ops::spec::Signature::new(&[$($done),*], &[$($crate::ops::spec::Mark::$mark),*])
    };
    ([$($done:expr,)*] [$($mark:ident)*] / $(, $($rest:tt)*)?) => {
        $crate::ops::block::op_signature!([$($done,)*] [$($mark)* Slash] $($($rest)*)?)
    };
    ([$($done:expr,)*] [$($mark:ident)*] * $(, $($rest:tt)*)?) => {
        $crate::ops::block::op_signature!([$($done,)*] [$($mark)* Star] $($($rest)*)?)
    };
    ([$($done:expr,)*] [$($mark:ident)*] $name:ident: $kind:ty = $default:expr $(, $($rest:tt)*)?) => {
        $crate::ops::block::op_signature!(
            [$($done,)* $crate::ops::spec::Param::with_default::<$kind>(
                stringify!($name), || $crate::ops::spec::Given::from($default)),]
            [$($mark)* Param] $($($rest)*)?
        )
    };
    ([$($done:expr,)*] [$($mark:ident)*] $name:ident: $kind:ty $(, $($rest:tt)*)?) => {
        $crate::ops::block::op_signature!(
            [$($done,)* $crate::ops::spec::Param::required::<$kind>(stringify!($name)),] [$($mark)* Param] $($($rest)*)?
        )
    };
}
pub(crate) use op_signature;

/// Reads the parsed arguments in order, then calls the Rust function or the code given instead.
macro_rules! op_call {
    ($given:ident [$name:ident] [] [$($arg:ident)*]) => {
        $name($($arg),*)
    };
    ($given:ident [$name:ident $try_name:ident] [] [$($arg:ident)*]) => {
        $try_name($($arg),*)
    };
    ($given:ident [$($names:ident)*] [$adapter:block] [$($arg:ident)*]) => {
        $adapter
    };
    ($given:ident $names:tt $adapter:tt $args:tt / $(, $($rest:tt)*)?) => {
        $crate::ops::block::op_call!($given $names $adapter $args $($($rest)*)?)
    };
    ($given:ident $names:tt $adapter:tt $args:tt * $(, $($rest:tt)*)?) => {
        $crate::ops::block::op_call!($given $names $adapter $args $($($rest)*)?)
    };
    ($given:ident $names:tt $adapter:tt [$($arg:ident)*] $name:ident: $kind:ty $(= $default:expr)? $(, $($rest:tt)*)?) => {{
        #[allow(non_snake_case, reason = "some of MLX's parameters are capitals")]
        let $name = <$kind as $crate::ops::spec::Argument>::of($crate::ops::spec::next(&mut $given));
        $crate::ops::block::op_call!($given $names $adapter [$($arg)* $name] $($($rest)*)?)
    }};
}
pub(crate) use op_call;

/// The entries of the catalogue that a block gives.
macro_rules! op_samples {
    ($op:expr, {$($samples:tt)*}) => {{
        #[allow(unused_imports, reason = "each block uses some of these")]
        use $crate::ops::block::sample::*;
        let mut all: Vec<$crate::ops::block::sample::Entry> = Vec::new();
        $crate::ops::block::op_samples!(@one all $op; $($samples)*);
        all
    }};
    (@one $all:ident $op:expr;) => {};
    (@one $all:ident $op:expr; from $entries:expr; $($rest:tt)*) => {
        $all.extend($entries);
        $crate::ops::block::op_samples!(@one $all $op; $($rest)*);
    };
    (@one $all:ident $op:expr; flat $($rest:tt)*) => {
        $crate::ops::block::op_samples!(@run $all $op, false; $($rest)*);
    };
    (@one $all:ident $op:expr; $($rest:tt)*) => {
        $crate::ops::block::op_samples!(@run $all $op, true; $($rest)*);
    };
    (@run $all:ident $op:expr, $smooth:literal; [$($input:expr),*] all |$x:ident| $run:expr; $($rest:tt)*) => {
        $all.push(entry($op, $smooth, vec![$($input),*], |$x: &[$crate::Array]| {
            Ok($crate::ops::spec::Made::from($run?).into())
        }));
        $crate::ops::block::op_samples!(@one $all $op; $($rest)*);
    };
    (@run $all:ident $op:expr, $smooth:literal; [$($input:expr),*] |$($x:ident),*| $run:expr; $($rest:tt)*) => {
        $all.push(entry($op, $smooth, vec![$($input),*], |inputs: &[$crate::Array]| {
            let [$($x),*] = inputs else { unreachable!("an entry is run on as many inputs as it has") };
            Ok($crate::ops::spec::Made::from($run?).into())
        }));
        $crate::ops::block::op_samples!(@one $all $op; $($rest)*);
    };
}
pub(crate) use op_samples;
