//! Strided memory: views of it, steps through its axes, and copies and conversions of any layout.

mod axes;
mod cast;
mod copy;
mod cursor;
#[cfg(target_arch = "x86_64")]
pub(crate) mod transpose;
mod view;

pub(crate) use axes::{Axes, Odometer};
pub use cast::{cast, fill};
pub use copy::{copy_each, copy_into};
pub(crate) use cursor::{Cursor, TILE, Tile, copy_strided, copy_strided_both};
pub use view::{Out, View};
pub(crate) use view::{is_row_major, row_major_strides};
