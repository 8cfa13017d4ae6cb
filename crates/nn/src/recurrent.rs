//! Recurrent layers: Elman's, gated units, and long short-term memory.
//!
//! Input and outputs have the shape `(…, steps, features)`. The products of the input with its weights do not depend on
//! the state: they are one product for all steps. Each step then takes one product with the state and one run of
//! elementwise operations. The steps are stacked once, at the end.

use crate::layers::{Layer, drawn};
use covector_core::ops::{self, Index};
use covector_core::shape::ShapeText;
use covector_core::{Array, Error, Result};
use covector_derive::Tree;

/// The input's part in all gates of all steps, one array for each step.
struct Steps {
    op: &'static str,
    gates: usize,
    hidden: usize,
    parts: Vec<Array>,
    /// The transposed weight of the state.
    weight: Array,
}

impl Steps {
    fn new(
        op: &'static str,
        gates: usize,
        x: &Array,
        weights: [&Array; 2],
        bias: Option<&Array>,
    ) -> Result<Self> {
        let [wx, wh] = weights;
        let refuse = |message: String| Error::shape(op, message);
        let (&[rows, inputs], &[rows_h, hidden]) = (wx.shape(), wh.shape()) else {
            return Err(refuse(format!(
                "the weights must be matrices, not of shapes {} and {}",
                ShapeText(wx.shape()),
                ShapeText(wh.shape())
            )));
        };
        if rows != gates * hidden || rows_h != rows {
            return Err(refuse(format!(
                "with {gates} gate(s) the weights must have the shapes ({gates}·hidden, inputs) and ({gates}·hidden, \
                 hidden), not {} and {}",
                ShapeText(wx.shape()),
                ShapeText(wh.shape())
            )));
        }
        let &[.., steps, features] = x.shape() else {
            return Err(refuse(format!(
                "the input must have the shape (…, steps, {inputs}), but it has shape {}",
                ShapeText(x.shape())
            )));
        };
        if features != inputs {
            return Err(refuse(format!(
                "the weight of shape {} takes {inputs} features in the last axis, but the input has shape {}",
                ShapeText(wx.shape()),
                ShapeText(x.shape())
            )));
        }
        if steps == 0 {
            return Err(refuse(format!(
                "the input of shape {} has no steps; a sequence needs one or more",
                ShapeText(x.shape())
            )));
        }
        let all = crate::functional::try_linear(x, wx, bias)?;
        let parts = ops::try_unstack(&all, -2)?;
        Ok(Self { op, gates, hidden, parts, weight: ops::try_mt(wh)? })
    }

    /// A first state, checked.
    fn state(&self, name: &str, state: Option<&Array>) -> Result<Option<Array>> {
        let Some(state) = state else { return Ok(None) };
        let mut shape = self.parts[0].shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.hidden;
        }
        if state.shape() != shape {
            return Err(Error::shape(
                self.op,
                format!(
                    "the first {name} must have shape {}, but it has shape {}",
                    ShapeText(&shape),
                    ShapeText(state.shape())
                ),
            ));
        }
        Ok(Some(state.clone()))
    }

    /// A gate of an array with all of them in the last axis.
    fn gate(&self, all: &Array, k: usize) -> Result<Array> {
        if self.gates == 1 {
            return Ok(all.clone());
        }
        let (from, to) = ((k * self.hidden) as isize, ((k + 1) * self.hidden) as isize);
        ops::try_index(all, &[Index::Ellipsis, Index::from(from..to)])
    }

    /// The products of the state with its weights; none for a state of zeros.
    fn product(&self, hidden: Option<&Array>) -> Result<Option<Array>> {
        hidden.map(|h| ops::try_matmul(h, &self.weight)).transpose()
    }

    /// The argument of a gate: the input's part, plus the state's if there is a state.
    fn sum(&self, part: &Array, product: Option<&Array>, k: usize) -> Result<Array> {
        let part = self.gate(part, k)?;
        match product {
            Some(product) => ops::try_add(&part, &self.gate(product, k)?),
            None => Ok(part),
        }
    }
}

/// Long short-term memory (Hochreiter and Schmidhuber, 1997): the hidden states and the cells of all steps.
///
/// The rows of the weights are those of the gates in order: input, forget, candidate, output. Without a first state it is
/// zero.
///
/// # Errors
/// When shapes or element types do not fit.
pub fn try_lstm(
    x: &Array,
    wx: &Array,
    wh: &Array,
    bias: Option<&Array>,
    state: [Option<&Array>; 2],
) -> Result<(Array, Array)> {
    let steps = Steps::new("lstm", 4, x, [wx, wh], bias)?;
    let mut hidden = steps.state("hidden state", state[0])?;
    let mut cell = steps.state("cell", state[1])?;
    let (mut all_hidden, mut all_cells) = (Vec::new(), Vec::new());
    for part in &steps.parts {
        let product = steps.product(hidden.as_ref())?;
        let gate = |k: usize| steps.sum(part, product.as_ref(), k);
        let new = ops::try_multiply(&ops::try_sigmoid(&gate(0)?)?, &ops::try_tanh(&gate(2)?)?)?;
        let next = match &cell {
            Some(cell) => ops::try_add(&ops::try_multiply(&ops::try_sigmoid(&gate(1)?)?, cell)?, &new)?,
            None => new,
        };
        let out = ops::try_multiply(&ops::try_sigmoid(&gate(3)?)?, &ops::try_tanh(&next)?)?;
        all_hidden.push(out.clone());
        all_cells.push(next.clone());
        (hidden, cell) = (Some(out), Some(next));
    }
    Ok((ops::try_stack(&all_hidden, -2)?, ops::try_stack(&all_cells, -2)?))
}

/// A gated recurrent unit (Cho et al., 2014): the hidden states of all steps.
///
/// The rows of the weights are those of the gates in order: reset, update, candidate. `state_bias` is added to the state's
/// part in the candidate before the reset gate acts on it. Without a first state it is zero.
///
/// # Errors
/// When shapes or element types do not fit.
pub fn try_gru(
    x: &Array,
    wx: &Array,
    wh: &Array,
    bias: Option<&Array>,
    state_bias: Option<&Array>,
    hidden: Option<&Array>,
) -> Result<Array> {
    let steps = Steps::new("gru", 3, x, [wx, wh], bias)?;
    if let Some(bias) = state_bias.filter(|b| b.shape() != [steps.hidden]) {
        return Err(Error::shape(
            "gru",
            format!(
                "the state's bias must have shape ({},), but it has shape {}",
                steps.hidden,
                ShapeText(bias.shape())
            ),
        ));
    }
    let mut hidden = steps.state("hidden state", hidden)?;
    let mut all = Vec::new();
    for part in &steps.parts {
        let product = steps.product(hidden.as_ref())?;
        let gate = |k: usize| steps.sum(part, product.as_ref(), k);
        let (reset, update) = (ops::try_sigmoid(&gate(0)?)?, ops::try_sigmoid(&gate(1)?)?);
        let remembered = match (&product, state_bias) {
            (Some(product), Some(bias)) => Some(ops::try_add(&steps.gate(product, 2)?, bias)?),
            (Some(product), None) => Some(steps.gate(product, 2)?),
            (None, bias) => bias.cloned(),
        };
        let mut candidate = steps.gate(part, 2)?;
        if let Some(remembered) = remembered {
            candidate = ops::try_add(&candidate, &ops::try_multiply(&reset, &remembered)?)?;
        }
        let candidate = ops::try_tanh(&candidate)?;
        let new = ops::try_multiply(&(1.0 - &update), &candidate)?;
        let next = match &hidden {
            Some(hidden) => ops::try_add(&new, &ops::try_multiply(&update, hidden)?)?,
            None => new,
        };
        all.push(next.clone());
        hidden = Some(next);
    }
    ops::try_stack(&all, -2)
}

/// Elman's network: `h ← f(W x + U h + b)`, the hidden states of all steps. Without a first state it is zero.
///
/// # Errors
/// When shapes or element types do not fit, and as `f` fails.
pub fn try_rnn<E: From<Error>>(
    x: &Array,
    wx: &Array,
    wh: &Array,
    bias: Option<&Array>,
    hidden: Option<&Array>,
    f: impl Fn(&Array) -> Result<Array, E>,
) -> Result<Array, E> {
    let steps = Steps::new("rnn", 1, x, [wx, wh], bias)?;
    let mut hidden = steps.state("hidden state", hidden)?;
    let mut all = Vec::new();
    for part in &steps.parts {
        let next = f(&steps.sum(part, steps.product(hidden.as_ref())?.as_ref(), 0)?)?;
        all.push(next.clone());
        hidden = Some(next);
    }
    Ok(ops::try_stack(&all, -2)?)
}

/// [`try_lstm`] as a layer, which gives the hidden states.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Lstm {
    /// The input's weights, of shape `(4·hidden, inputs)`.
    pub wx: Array,
    /// The state's weights, of shape `(4·hidden, hidden)`.
    pub wh: Array,
    /// Shape `(4·hidden,)`, if there is one.
    pub bias: Option<Array>,
}

impl Lstm {
    /// All parameters drawn uniformly from the range between `±1/√hidden`.
    pub fn new(inputs: usize, hidden: usize) -> Self {
        let [wx, wh, bias] =
            [&[4 * hidden, inputs][..], &[4 * hidden, hidden], &[4 * hidden]].map(|s| drawn(s, hidden));
        Self { wx, wh, bias: Some(bias) }
    }

    /// The hidden states and the cells of all steps, from a first hidden state and cell.
    ///
    /// # Errors
    /// As [`try_lstm`].
    pub fn try_run(&self, x: &Array, hidden: Option<&Array>, cell: Option<&Array>) -> Result<(Array, Array)> {
        try_lstm(x, &self.wx, &self.wh, self.bias.as_ref(), [hidden, cell])
    }
}

impl Layer for Lstm {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        Ok(self.try_run(x, None, None)?.0)
    }
}

/// [`try_gru`] as a layer.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Gru {
    /// The input's weights, of shape `(3·hidden, inputs)`.
    pub wx: Array,
    /// The state's weights, of shape `(3·hidden, hidden)`.
    pub wh: Array,
    /// The bias of the input's part, of shape `(3·hidden,)`, if there is one.
    pub b: Option<Array>,
    /// The bias of the state's part in the candidate, of shape `(hidden,)`, if there is one.
    pub bhn: Option<Array>,
}

impl Gru {
    /// All parameters drawn uniformly from the range between `±1/√hidden`.
    pub fn new(inputs: usize, hidden: usize) -> Self {
        let shapes = [&[3 * hidden, inputs][..], &[3 * hidden, hidden], &[3 * hidden], &[hidden]];
        let [wx, wh, b, bhn] = shapes.map(|s| drawn(s, hidden));
        Self { wx, wh, b: Some(b), bhn: Some(bhn) }
    }

    /// The hidden states of all steps, from a first one.
    ///
    /// # Errors
    /// As [`try_gru`].
    pub fn try_run(&self, x: &Array, hidden: Option<&Array>) -> Result<Array> {
        try_gru(x, &self.wx, &self.wh, self.b.as_ref(), self.bhn.as_ref(), hidden)
    }
}

impl Layer for Gru {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        self.try_run(x, None)
    }
}

/// [`try_rnn`] with a hyperbolic tangent, as a layer.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct Rnn {
    /// The input's weights, of shape `(hidden, inputs)`.
    pub wxh: Array,
    /// The state's weights, of shape `(hidden, hidden)`.
    pub whh: Array,
    /// Shape `(hidden,)`, if there is one.
    pub bias: Option<Array>,
}

impl Rnn {
    /// All parameters drawn uniformly from the range between `±1/√hidden`.
    pub fn new(inputs: usize, hidden: usize) -> Self {
        let [wxh, whh, bias] =
            [&[hidden, inputs][..], &[hidden, hidden], &[hidden]].map(|s| drawn(s, hidden));
        Self { wxh, whh, bias: Some(bias) }
    }
}

impl Layer for Rnn {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        try_rnn(x, &self.wxh, &self.whh, self.bias.as_ref(), None, ops::try_tanh)
    }
}
