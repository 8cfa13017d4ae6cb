//! Layers: parameters with the function that uses them.
//!
//! A layer is a plain struct whose parameters are its fields. It is a [`Tree`], which `value_and_grad` takes and returns:
//! the gradient of a network is a network. Tuples and vectors of layers are layers that apply one after the other. New
//! layers draw from the random state of the thread: `random::seed(0)` before them makes them the same in every run.
//!
//! ```
//! use covector_core::{Array, transforms::grad, random};
//! use covector_nn::{Layer, Linear, Relu};
//! random::seed(0);
//! let net = (Linear::new(3, 8), Relu, Linear::new(8, 2));
//! let x = Array::new([[0.5f32, -1.0, 2.0]]);
//! assert_eq!(net.forward(&x).shape(), [1, 2]);
//! let grads = grad(|net: &(Linear, Relu, Linear)| net.forward(&x).square().sum())(&net)?;
//! assert_eq!(grads.2.weight.shape(), [2, 8]);
//! # Ok::<(), covector_core::Error>(())
//! ```

use crate::{functional, init};
use covector_core::{Array, Dtype, Result, ops};
use covector_derive::Tree;

/// A function of one array, with parameters.
pub trait Layer {
    /// The output for an input.
    ///
    /// # Errors
    /// When the input's shape or element type does not fit.
    fn try_forward(&self, x: &Array) -> Result<Array>;

    /// The output for an input.
    ///
    /// # Panics
    /// As [`Layer::try_forward`] fails.
    #[track_caller]
    fn forward(&self, x: &Array) -> Array {
        crate::expect(self.try_forward(x))
    }

    /// Switches between training and inference. It matters to layers like [`Dropout`]; containers pass it on.
    fn set_training(&mut self, training: bool) {
        let _ = training;
    }
}

/// [`init::layer_uniform`] for a layer that has inputs.
#[track_caller]
pub(crate) fn drawn(shape: &[usize], inputs: usize) -> Array {
    crate::expect(init::layer_uniform(shape, inputs))
}

/// `x Wᵀ + b` over the last axis.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Linear {
    /// Shape `(outputs, inputs)`.
    pub weight: Array,
    /// Shape `(outputs,)`, if there is one.
    pub bias: Option<Array>,
}

impl Linear {
    /// Weight and bias drawn uniformly from the range between `±1/√inputs`, the weight first.
    ///
    /// # Panics
    /// When `inputs` is 0.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let bias_free = Self::without_bias(inputs, outputs);
        Self { bias: Some(drawn(&[outputs], inputs)), ..bias_free }
    }

    /// A linear map alone.
    ///
    /// # Panics
    /// When `inputs` is 0.
    #[track_caller]
    pub fn without_bias(inputs: usize, outputs: usize) -> Self {
        Self { weight: drawn(&[outputs, inputs], inputs), bias: None }
    }
}

impl Layer for Linear {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        functional::try_linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Rows of a table, chosen by integers.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Embedding {
    /// Shape `(rows, dims)`.
    pub weight: Array,
}

impl Embedding {
    /// `rows` vectors of length `dims`, drawn from the normal distribution with variance `1/dims`.
    ///
    /// # Panics
    /// When `dims` is 0.
    #[track_caller]
    pub fn new(rows: usize, dims: usize) -> Self {
        Self { weight: crate::expect(init::layer_normal(&[rows, dims], dims)) }
    }

    /// The table as a linear map from vectors to scores for the rows.
    ///
    /// # Errors
    /// When the last axis of `x` does not have extent `dims`.
    pub fn try_as_linear(&self, x: &Array) -> Result<Array> {
        functional::try_linear(x, &self.weight, None)
    }
}

impl Layer for Embedding {
    fn try_forward(&self, indices: &Array) -> Result<Array> {
        functional::try_embedding(indices, &self.weight)
    }
}

/// Normalises the last axis to mean 0 and variance 1, then scales and shifts it.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct LayerNorm {
    /// The scale, if there is one.
    pub weight: Option<Array>,
    /// The shift, if there is one.
    pub bias: Option<Array>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// Scale 1 and shift 0 for `dims` features, and `eps` 1e-5.
    pub fn new(dims: usize) -> Self {
        let (weight, bias) = (ops::ones(&[dims], Dtype::F32), ops::zeros(&[dims], Dtype::F32));
        Self { weight: Some(weight), bias: Some(bias), eps: 1e-5 }
    }
}

impl Layer for LayerNorm {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        functional::try_layer_norm(x, self.weight.as_ref(), self.bias.as_ref(), self.eps)
    }
}

/// Divides the last axis by its root mean square, then scales it.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct RmsNorm {
    /// The scale.
    pub weight: Array,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// Scale 1 for `dims` features, and `eps` 1e-5.
    pub fn new(dims: usize) -> Self {
        Self { weight: ops::ones(&[dims], Dtype::F32), eps: 1e-5 }
    }
}

impl Layer for RmsNorm {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        functional::try_rms_norm(x, Some(&self.weight), self.eps)
    }
}

/// In training, sets elements to 0 with probability `p` and divides the others by `1 − p`; otherwise the identity.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Dropout {
    /// The probability of being set to 0.
    pub p: f64,
    /// Whether anything is dropped.
    pub training: bool,
}

impl Dropout {
    /// In training.
    ///
    /// # Errors
    /// When `p` is not in `[0, 1)`.
    pub fn new(p: f64) -> Result<Self> {
        functional::check_probability(p)?;
        Ok(Self { p, training: true })
    }
}

impl Layer for Dropout {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        if self.training { functional::try_dropout(x, self.p, None) } else { Ok(x.clone()) }
    }

    fn set_training(&mut self, training: bool) {
        self.training = training;
    }
}

/// A [`leaky_relu`](functional::leaky_relu) whose slope is learned, for all features or for each.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Prelu {
    /// The slope where the input is not positive; it broadcasts with the input.
    pub weight: Array,
}

impl Prelu {
    /// `parameters` slopes of 0.25.
    pub fn new(parameters: usize) -> Self {
        Self { weight: init::constant(&[parameters], 0.25, Dtype::F32) }
    }
}

impl Layer for Prelu {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        functional::try_prelu(x, &self.weight)
    }
}

macro_rules! sequences {
    ($($name:ident $i:tt),*) => {
        /// One after the other.
        impl<$($name: Layer),*> Layer for ($($name,)*) {
            fn try_forward(&self, x: &Array) -> Result<Array> {
                let x = x.clone();
                $(let x = self.$i.try_forward(&x)?;)*
                Ok(x)
            }

            fn set_training(&mut self, training: bool) {
                $(self.$i.set_training(training);)*
            }
        }
    };
}
sequences!(A 0);
sequences!(A 0, B 1);
sequences!(A 0, B 1, C 2);
sequences!(A 0, B 1, C 2, D 3);
sequences!(A 0, B 1, C 2, D 3, E 4);
sequences!(A 0, B 1, C 2, D 3, E 4, F 5);
sequences!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
sequences!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// One after the other.
impl<L: Layer> Layer for Vec<L> {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        self.iter().try_fold(x.clone(), |x, layer| layer.try_forward(&x))
    }

    fn set_training(&mut self, training: bool) {
        self.iter_mut().for_each(|layer| layer.set_training(training));
    }
}

/// A layer that may be left out.
impl<L: Layer> Layer for Option<L> {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        self.as_ref().map_or_else(|| Ok(x.clone()), |layer| layer.try_forward(x))
    }

    fn set_training(&mut self, training: bool) {
        if let Some(layer) = self {
            layer.set_training(training);
        }
    }
}

impl<L: Layer> Layer for Box<L> {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        (**self).try_forward(x)
    }

    fn set_training(&mut self, training: bool) {
        (**self).set_training(training);
    }
}
