//! Layers with channels last: convolution and pooling of `[n, spatial.., c]`.

use crate::layers::drawn;
use crate::{Layer, functional};
use covector_core::{Array, Dtype, Result, ops};
use covector_derive::Tree;

/// A convolution of images `[n, height, width, c]`, plus a bias for each output channel.
///
/// ```
/// use covector_core::{Dtype, ops};
/// use covector_nn::{Conv2d, Layer, MaxPool2d, Relu};
/// let net = (Conv2d::new(3, 16, [3, 3]).padded([1, 1]), Relu, MaxPool2d::new([2, 2]));
/// let images = ops::zeros(&[4, 32, 32, 3], Dtype::F32);
/// assert_eq!(net.forward(&images).shape(), [4, 16, 16, 16]);
/// ```
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Conv2d {
    /// Shape `(outputs, height, width, inputs / groups)`.
    pub weight: Array,
    /// Shape `(outputs,)`, if there is one.
    pub bias: Option<Array>,
    /// Steps of the kernel over the input.
    #[tree(skip)]
    pub stride: [usize; 2],
    /// Zeros added on both sides.
    #[tree(skip)]
    pub padding: [isize; 2],
    /// Steps from one element of the kernel to the next.
    #[tree(skip)]
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    #[tree(skip)]
    pub groups: usize,
}

impl Conv2d {
    /// Kernels of the given size, drawn uniformly from the range between `±1/√(inputs · size)`, and a bias of zeros.
    ///
    /// # Panics
    /// When there are no inputs, or the kernels are empty.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, size: [usize; 2]) -> Self {
        let shape = [outputs, size[0], size[1], inputs];
        Self {
            weight: drawn(&shape, inputs * size[0] * size[1]),
            bias: Some(ops::zeros(&[outputs], Dtype::F32)),
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// The same with zeros added on both sides.
    pub fn padded(self, padding: [isize; 2]) -> Self {
        Self { padding, ..self }
    }

    /// The same with other steps.
    pub fn strided(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }
}

impl Layer for Conv2d {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        let y = ops::try_conv2d(x, &self.weight, self.stride, self.padding, self.dilation, self.groups)?;
        match &self.bias {
            Some(bias) => ops::try_add(&y, bias),
            None => Ok(y),
        }
    }
}

macro_rules! pools {
    ($(#[$meta:meta] $name:ident: $f:ident;)*) => {$(
        #[$meta]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Tree)]
        #[tree(crate = "covector_core")]
        pub struct $name {
            /// The extents of a window.
            #[tree(skip)]
            pub window: [usize; 2],
            /// Elements from one window to the next.
            #[tree(skip)]
            pub stride: [usize; 2],
            /// Places in front of and behind the input that windows may cover.
            #[tree(skip)]
            pub padding: [usize; 2],
        }

        impl $name {
            /// Windows side by side, without padding.
            pub fn new(window: [usize; 2]) -> Self {
                Self { window, stride: window, padding: [0, 0] }
            }
        }

        impl Layer for $name {
            fn try_forward(&self, x: &Array) -> Result<Array> {
                functional::$f(x, &self.window, &self.stride, &self.padding)
            }
        }
    )*};
}
pools! {
    /// [`max_pool`](functional::max_pool) of images as a layer.
    MaxPool2d: try_max_pool;
    /// [`avg_pool`](functional::avg_pool) of images as a layer.
    AvgPool2d: try_avg_pool;
}
