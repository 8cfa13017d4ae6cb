//! Conversion from and to `ndarray` arrays (feature `ndarray`).

use crate::array::Array;
use crate::error::{Error, Result};
use crate::trace::Place;
use covector_kernels::Element;
use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};

impl<T: Element, S: Data<Elem = T>, D: Dimension> From<&ArrayBase<S, D>> for Array {
    /// A row-major copy.
    ///
    /// ```
    /// let x = covector_core::Array::from(&ndarray::arr2(&[[1.0f32, 2.0], [3.0, 4.0]]));
    /// assert_eq!(x.shape(), [2, 2]);
    /// ```
    fn from(x: &ArrayBase<S, D>) -> Self {
        let copy = match x.as_slice() {
            Some(values) => Array::from_slice(values, x.shape()),
            None => crate::buffer::room("array", x.len()).and_then(|mut values| {
                values.extend(x.iter().copied());
                Array::from_slice(&values, x.shape())
            }),
        };
        crate::error::expect(copy)
    }
}

impl Array {
    /// The values as an `ndarray` array.
    ///
    /// # Errors
    /// When `T` is not the element type, and as [`Array::try_eval`].
    #[track_caller]
    pub fn try_to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        let values = self.values::<T>("to_ndarray")?;
        self.note_read(Place::here());
        ArrayD::from_shape_vec(IxDyn(self.shape()), values)
            .map_err(|e| Error::shape("to_ndarray", format!("{e}: ndarray does not take this shape")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let x = ndarray::Array::from_shape_fn((2, 3), |(i, j)| (i * 3 + j) as f64);
        let there = Array::from(&x.t());
        assert_eq!(there.shape(), [3, 2]);
        assert_eq!(there.try_to_ndarray::<f64>().unwrap(), x.t().into_dyn());
        assert!(there.try_to_ndarray::<f32>().is_err());
        let empty = ndarray::Array2::<i32>::zeros((0, 4));
        assert_eq!(Array::from(&empty).try_to_ndarray::<i32>().unwrap(), empty.into_dyn());
    }
}
