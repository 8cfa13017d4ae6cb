//! The expansion of a row of `optimizers!`, and the description from which the Python package makes a class.

use crate::optim::{Optimizer, Schedule};
use crate::settings::{Setting, Value};
use covector_core::Result;

/// An optimizer as its row describes it.
#[derive(Debug)]
pub struct Spec {
    /// The name of the Python class.
    pub name: &'static str,
    /// The documentation of the Rust struct.
    pub doc: &'static str,
    /// The Python class that it extends, if that is another optimizer.
    pub extends: Option<&'static str>,
    /// Its settings beside the learning rate, in the order of Python's arguments.
    pub settings: &'static [Setting],
    /// The names of the arrays that the state can have for each parameter array.
    pub slots: &'static [&'static str],
    /// The optimizer with a learning rate and these settings, checked.
    ///
    /// # Errors
    /// As [`Optimizer::check`].
    pub make: fn(Schedule, &[Value]) -> Result<Box<dyn Optimizer + Send + Sync>>,
}

/// Defines optimizers, one row each:
///
/// ```text
/// /// Documentation, with the update as an equation.
/// Name "PythonName" extends "Parent" {
///     /// Documentation.
///     setting: type = default, check;
/// }
/// check |s| { return an error for settings that do not work together }
/// slots [names of the arrays kept for each parameter] if (|s| condition)
/// |s, cx, w, g| { Ok((new parameter, vec![new slots])) }
/// ```
///
/// `s` is the optimizer, `cx` the [`StepContext`](crate::optim::StepContext), `w` the parameter and `g` its gradient. The
/// slots are bound to their names; slots with a condition are `Option`s. A row gives the struct, `new`, the checks, the
/// slots and the [`Spec`].
macro_rules! optimizers {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident $python:literal $(extends $parent:literal)? {
            $($(#[doc = $about:literal])* $field:ident: $ty:ty = $default:expr $(, $check:ident)?;)*
        }
        $(check |$settings:ident| $together:block)?
        slots [$($slot:ident),*] $(if ($needed:expr))?
        |$s:ident, $cx:ident, $w:ident, $g:ident| $step:block
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Debug)]
            pub struct $name {
                /// The length of a step, λ.
                pub learning_rate: $crate::optim::Schedule,
                $($(#[doc = $about])* pub $field: $ty,)*
            }

            impl $name {
                /// The row as data.
                pub const SPEC: $crate::optim::Spec = $crate::optim::Spec {
                    name: $python,
                    doc: concat!($($doc, "\n"),*),
                    extends: optimizers!(@first $(Some($parent),)? None),
                    settings: &[$($crate::settings::Setting {
                        name: stringify!($field),
                        doc: concat!($($about, "\n"),*),
                        default: || <$ty as $crate::settings::Kind>::value($default),
                        check: optimizers!(@first $($check,)? any),
                    }),*],
                    slots: &[$(stringify!($slot)),*],
                    make: |rate, values| {
                        let mut i = 0..;
                        let mut next = || i.next().unwrap_or_default();
                        let optimizer = Self {
                            $($field: $crate::settings::Setting::read($python, values, next())?,)*
                            ..Self::new(rate)
                        };
                        optimizer.check()?;
                        Ok(Box::new(optimizer))
                    },
                };

                #[doc = concat!("With the defaults", $(" `", stringify!($field), " = ", stringify!($default), "`,",)*
                    " which are fields: `", stringify!($name), " { … , ..", stringify!($name), "::new(0.1) }`.")]
                pub fn new(learning_rate: impl Into<$crate::optim::Schedule>) -> Self {
                    Self { learning_rate: learning_rate.into(), $($field: $default),* }
                }
            }

            impl $crate::optim::Optimizer for $name {
                fn learning_rate(&self) -> &$crate::optim::Schedule {
                    &self.learning_rate
                }

                fn slots(&self) -> &'static [&'static str] {
                    $(if !($needed)(self) {
                        return &[];
                    })?
                    Self::SPEC.slots
                }

                fn check(&self) -> covector_core::Result<()> {
                    $(optimizers!(@first $($check,)? any)(
                        stringify!($name),
                        stringify!($field),
                        $crate::settings::Kind::value(self.$field),
                    )?;)*
                    $({
                        let $settings = self;
                        $together
                    })?
                    Ok(())
                }

                fn step(
                    &self,
                    $cx: &$crate::optim::StepContext,
                    $w: &Array,
                    $g: &Array,
                    slots: &[Array],
                ) -> Result<(Array, Vec<Array>)> {
                    let $s = self;
                    optimizers!(@bind slots, [$($slot),*], $($needed)?);
                    $step
                }
            }
        )*

        /// All optimizers.
        pub static OPTIMIZERS: &[$crate::optim::Spec] = &[$($name::SPEC),*];
    };
    (@first $first:expr $(, $rest:expr)*) => { $first };
    (@bind $slots:ident, [$($slot:ident),*], ) => {
        let [$($slot),*] = $slots else {
            return Err(covector_core::Error::value("update", "the state has another number of slots; make it with init"));
        };
    };
    (@bind $slots:ident, [$($slot:ident),*], $needed:expr) => {
        let mut slots = $slots.iter();
        $(let $slot = slots.next();)*
    };
}
pub(super) use optimizers;
