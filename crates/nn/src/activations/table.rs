//! The expansion of a row of `activations!`, and the description from which the Python package makes a function and a class.

use crate::layers::Layer;
use crate::settings::{Setting, Value};
use covector_core::{Array, Result};

/// An activation as its row describes it.
#[derive(Debug)]
pub struct ActivationSpec {
    /// The name of the function.
    pub function: &'static str,
    /// The name of the Python class, if there is one.
    pub class: Option<&'static str>,
    /// The documentation of the function.
    pub doc: &'static str,
    /// Its settings, in the order of Python's arguments.
    pub settings: &'static [Setting],
    /// The function, with a value for each setting.
    ///
    /// # Errors
    /// When the element type does not fit, or a setting cannot work.
    pub call: fn(&Array, &[Value]) -> Result<Array>,
}

/// A layer without parameters that a row defines.
pub trait Activation: Layer + 'static {
    /// The row as data.
    const SPEC: &'static ActivationSpec;
}

/// An action on each activation.
pub trait ActivationVisitor {
    /// Acts on one.
    fn activation<A: Activation>(&mut self);
}

/// Defines activations, one row each:
///
/// ```text
/// /// Documentation, with the equation.
/// function / try_function => Layer "PythonClass" {
///     /// Documentation.
///     setting: type = default, check;
/// }
/// |x| once { value }
/// ```
///
/// A row gives the two functions, the layer with the settings as fields, and the [`ActivationSpec`]. With `once`, half precision is
/// computed in `float32` and rounded once. A row without a body takes the function of the core.
macro_rules! activations {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident / $try_name:ident => $layer:ident $($class:literal)? {
            $($(#[doc = $about:literal])* $field:ident: $ty:ty = $default:expr $(, $check:ident)?;)*
        }
        $(|$x:ident| $($once:ident)? $body:block)?
    )*) => {
        $(
            activations!(@functions
                {$(#[doc = $doc])*} $name $try_name ($($field: $ty $(, $check)?;)*) $($x [$($once)?] $body)?
            );
            activations!(@layer
                $name $try_name $layer {$($(#[doc = $about])* $field: $ty = $default;)*}
            );

            impl Activation for $layer {
                const SPEC: &'static ActivationSpec = &ActivationSpec {
                    function: stringify!($name),
                    class: activations!(@first $(Some($class),)? None),
                    doc: concat!($($doc, "\n"),*),
                    settings: &[$($crate::settings::Setting {
                        name: stringify!($field),
                        doc: concat!($($about, "\n"),*),
                        default: || <$ty as $crate::settings::Kind>::value($default),
                        check: activations!(@first $($check,)? any),
                    }),*],
                    call: |x, values| {
                        let mut i = 0..;
                        let mut next = || i.next().unwrap_or_default();
                        let _ = (values, &mut next);
                        $try_name(x $(, $crate::settings::Setting::read::<$ty>(stringify!($name), values, next())?)*)
                    },
                };
            }
        )*

        /// Visits all activations.
        pub fn visit_activations(visitor: &mut impl ActivationVisitor) {
            $(visitor.activation::<$layer>();)*
        }

        /// All activations.
        pub static ACTIVATIONS: &[&ActivationSpec] = &[$(<$layer as Activation>::SPEC),*];
    };
    (@functions {$($doc:tt)*} $name:ident $try_name:ident ()) => {
        pub use covector_core::ops::{$name, $try_name};
    };
    (@functions
        {$($doc:tt)*} $name:ident $try_name:ident ($($field:ident: $ty:ty $(, $check:ident)?;)*)
        $x:ident [$($once:ident)?] $body:block
    ) => {
        $($doc)*
        ///
        /// # Errors
        /// When shapes, axes, element types or values do not fit.
        pub fn $try_name($x: &Array $(, $field: $ty)*) -> Result<Array> {
            $($($check(stringify!($name), stringify!($field), $crate::settings::Kind::value($field))?;)?)*
            crate::named(stringify!($name), || activations!(@body [$($once)?] $x $body))
        }

        $($doc)*
        ///
        /// # Panics
        /// When shapes, axes, element types or values do not fit.
        #[track_caller]
        pub fn $name($x: &Array $(, $field: $ty)*) -> Array {
            crate::expect($try_name($x $(, $field)*))
        }
    };
    (@body [once] $x:ident $body:block) => {
        covector_core::wide::rounded_once([$x], |[$x]| $body)
    };
    (@body [] $x:ident $body:block) => { $body };
    (@layer $name:ident $try_name:ident $layer:ident {}) => {
        #[doc = concat!("[`", stringify!($name), "`] as a layer.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Tree)]
        #[tree(crate = "covector_core")]
        pub struct $layer;

        impl Layer for $layer {
            fn try_forward(&self, x: &Array) -> Result<Array> {
                $try_name(x)
            }
        }
    };
    (@layer $name:ident $try_name:ident $layer:ident {$($(#[doc = $about:literal])* $field:ident: $ty:ty = $default:expr;)+}) => {
        #[doc = concat!("[`", stringify!($name), "`] as a layer.")]
        #[derive(Clone, Copy, Debug, PartialEq, Tree)]
        #[tree(crate = "covector_core")]
        pub struct $layer {
            $($(#[doc = $about])* #[tree(skip)] pub $field: $ty,)+
        }

        impl Default for $layer {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl Layer for $layer {
            fn try_forward(&self, x: &Array) -> Result<Array> {
                $try_name(x $(, self.$field)+)
            }
        }
    };
    (@first $first:expr $(, $rest:expr)*) => { $first };
}
pub(super) use activations;
