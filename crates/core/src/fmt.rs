//! How arrays print.

use crate::array::Array;
use crate::shape::ShapeText;

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Array({}, {}", self.dtype(), ShapeText(self.shape()))?;
        f.write_str(")")
    }
}

