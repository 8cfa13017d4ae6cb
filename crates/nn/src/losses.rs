//! Losses: how far predictions are from targets.
//!
//! Each gives one number per element or per example and reduces them as [`Reduction`] says. Losses over classes
//! take logits, the scores before softmax, because logarithm and exponential cancel there without rounding.
//!
//! The losses of half precision are computed and reduced in `float32`, and rounded once.

use crate::functional::{Normalizer, inexact, relu, try_relu};
use covector_core::shape::ShapeText;
use covector_core::{Array, Error, Result, ops, wide};

/// The reduction of the losses of single elements or examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// They are returned as they are.
    None,
    /// Their mean, a scalar.
    #[default]
    Mean,
    /// Their sum, a scalar.
    Sum,
}

impl Reduction {
    /// The reduction of a name: `none`, `mean` or `sum`.
    ///
    /// # Errors
    /// For another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Reduction::None),
            "mean" => Ok(Reduction::Mean),
            "sum" => Ok(Reduction::Sum),
            _ => Err(Error::value(
                "reduction",
                format!("{name:?} is none of the reductions 'none', 'mean' and 'sum'"),
            )),
        }
    }

    fn of(self, losses: &Array) -> Result<Array> {
        match self {
            Reduction::None => Ok(losses.clone()),
            Reduction::Mean => ops::try_mean(losses),
            Reduction::Sum => ops::try_sum(losses),
        }
    }
}

fn check_positive(op: &'static str, name: &str, value: f64) -> Result<()> {
    if value > 0.0 {
        return Ok(());
    }
    Err(Error::value(op, format!("{name} {value} is not positive")))
}

fn check_eps(op: &'static str, eps: f64) -> Result<()> {
    if eps >= 0.0 {
        return Ok(());
    }
    Err(Error::value(op, format!("eps {eps} must not be negative")))
}

fn same_shape(op: &'static str, what: &str, a: &Array, other: &str, b: &Array) -> Result<()> {
    if a.shape() == b.shape() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!(
            "{what} of shape {} and {other} of shape {} must have one shape; reshape or broadcast_to one of them",
            ShapeText(a.shape()),
            ShapeText(b.shape())
        ),
    ))
}

/// How [`cross_entropy_with`] departs from the plain loss.
#[derive(Clone, Debug)]
pub struct CrossEntropy<'a> {
    /// A factor for the loss of each example, of the shape of the unreduced loss.
    pub weights: Option<&'a Array>,
    /// The axis of the classes.
    pub axis: isize,
    /// The share of the target's probability that is spread evenly over all classes, in `[0, 1)`.
    pub label_smoothing: f64,
    /// The reduction of the losses of the examples.
    pub reduction: Reduction,
}

impl Default for CrossEntropy<'_> {
    fn default() -> Self {
        Self { weights: None, axis: -1, label_smoothing: 0.0, reduction: Reduction::Mean }
    }
}

/// The cross entropy of logits against targets; see [`cross_entropy`], here with all options.
///
/// # Errors
/// When targets or weights do not have the shape that belongs to the logits, targets without the class axis are
/// no integers, or the label smoothing is outside `[0, 1)`.
pub fn try_cross_entropy_with(logits: &Array, targets: &Array, options: &CrossEntropy<'_>) -> Result<Array> {
    let logits = inexact(logits);
    match options.weights {
        None => wide::rounded_once([&logits, targets], |[x, t]| classified(x, t, options)),
        Some(weights) => wide::rounded_once([&logits, targets, weights], |[x, t, w]| {
            classified(x, t, &CrossEntropy { weights: Some(w), ..options.clone() })
        }),
    }
}

/// [`try_cross_entropy_with`] in one type.
fn classified(logits: &Array, targets: &Array, options: &CrossEntropy<'_>) -> Result<Array> {
    const OP: &str = "cross_entropy";
    let &CrossEntropy { weights, axis, label_smoothing, reduction } = options;
    if !(0.0..1.0).contains(&label_smoothing) {
        return Err(Error::value(OP, format!("label smoothing {label_smoothing} is not in [0, 1)")));
    }
    let logits = inexact(logits);
    let mut examples = logits.shape().to_vec();
    examples.remove(class_axis(OP, &logits, axis)?);
    if targets.shape() != logits.shape() && targets.shape() != examples {
        return Err(Error::shape(
            OP,
            format!(
                "targets of shape {} fit logits of shape {} neither as class indices, of shape {}, nor as \
                 probabilities, of shape {}",
                ShapeText(targets.shape()),
                ShapeText(logits.shape()),
                ShapeText(&examples),
                ShapeText(logits.shape())
            ),
        ));
    }
    if logits.size() == 0 {
        // Without examples or without classes the sum fails with the reason.
        let loss = ops::try_logsumexp_axes(&logits, &[axis], false)?;
        return reduction.of(&weighted(OP, loss, weights)?);
    }
    // Scores are taken from the greatest logit on: beside a large one the logarithm would be lost.
    let Normalizer { shift, shifted, log_sum } = Normalizer::new(&logits, axis)?;
    let (shift, log_sum) = (ops::try_squeeze(&shift, &[axis])?, ops::try_squeeze(&log_sum, &[axis])?);
    let score = if targets.shape() == examples {
        ops::try_subtract(&chosen(OP, &logits, targets, axis)?, &shift)?
    } else {
        let targets = typed_as(targets, &logits);
        let score = ops::try_sum_axes(&expected(&shifted, &targets)?, &[axis], false)?;
        // Targets that do not add up to 1 leave a part of the shift, as `log Σ e^logits − Σ logits · target` has it.
        let rest = 1.0 - ops::try_sum_axes(&targets, &[axis], false)?;
        ops::try_subtract(&score, &ops::try_multiply(&shift, &rest)?)?
    };
    let score = if label_smoothing > 0.0 {
        let even = ops::try_mean_axes(&shifted, &[axis], false)?;
        ops::try_add(&(score * (1.0 - label_smoothing)), &(even * label_smoothing))?
    } else {
        score
    };
    let loss = ops::try_subtract(&log_sum, &score)?;
    reduction.of(&weighted(OP, loss, weights)?)
}

/// The cross entropy of logits against targets; see [`cross_entropy`], here with all options.
///
/// # Panics
/// As [`try_cross_entropy_with`] fails.
#[track_caller]
pub fn cross_entropy_with(logits: &Array, targets: &Array, options: &CrossEntropy<'_>) -> Array {
    crate::expect(try_cross_entropy_with(logits, targets, options))
}

/// How [`binary_cross_entropy_with`] departs from the plain loss.
#[derive(Clone, Debug)]
pub struct BinaryCrossEntropy<'a> {
    /// A factor for each element, of the shape of the inputs.
    pub weights: Option<&'a Array>,
    /// Whether the inputs are logits; otherwise they are probabilities.
    pub with_logits: bool,
    /// The reduction of the losses of the elements.
    pub reduction: Reduction,
}

impl Default for BinaryCrossEntropy<'_> {
    fn default() -> Self {
        Self { weights: None, with_logits: true, reduction: Reduction::Mean }
    }
}

/// The binary cross entropy; see [`binary_cross_entropy`], here with all options.
///
/// Logarithms of probabilities are limited to −100 from below, so that a wrong prediction that is certain costs
/// a finite loss.
///
/// # Errors
/// When targets or weights do not have the shape of the inputs.
pub fn try_binary_cross_entropy_with(
    inputs: &Array,
    targets: &Array,
    options: &BinaryCrossEntropy<'_>,
) -> Result<Array> {
    let inputs = inexact(inputs);
    match options.weights {
        None => wide::rounded_once([&inputs, targets], |[x, t]| judged(x, t, options)),
        Some(weights) => wide::rounded_once([&inputs, targets, weights], |[x, t, w]| {
            judged(x, t, &BinaryCrossEntropy { weights: Some(w), ..options.clone() })
        }),
    }
}

/// [`try_binary_cross_entropy_with`] in one type.
fn judged(inputs: &Array, targets: &Array, options: &BinaryCrossEntropy<'_>) -> Result<Array> {
    const OP: &str = "binary_cross_entropy";
    same_shape(OP, "inputs", inputs, "targets", targets)?;
    let inputs = inexact(inputs);
    let loss = if options.with_logits {
        // log(e^(−xt) + e^(x(1−t))): one smooth function, in which nothing cancels.
        let targets = typed_as(targets, &inputs);
        let yes = ops::try_multiply(&inputs, &ops::try_negative(&targets)?)?;
        ops::try_logaddexp(&yes, &ops::try_multiply(&inputs, &(1.0 - &targets))?)?
    } else {
        let yes = ops::try_multiply(targets, &limited_log(&inputs)?)?;
        let no = ops::try_multiply(&(1.0 - inexact(targets)), &limited_log(&(1.0 - &inputs))?)?;
        ops::try_negative(&ops::try_add(&yes, &no)?)?
    };
    options.reduction.of(&weighted(OP, loss, options.weights)?)
}

/// The binary cross entropy; see [`binary_cross_entropy`], here with all options.
///
/// # Panics
/// As [`try_binary_cross_entropy_with`] fails.
#[track_caller]
pub fn binary_cross_entropy_with(inputs: &Array, targets: &Array, options: &BinaryCrossEntropy<'_>) -> Array {
    crate::expect(try_binary_cross_entropy_with(inputs, targets, options))
}

function! {
    /// `log Σ e^logits − logits[target]` over the classes, which are on the last axis.
    ///
    /// Targets are either class indices, of the logits' shape without the last axis, or probabilities of all
    /// classes, of the logits' shape.
    ///
    /// ```
    /// use covector_core::Array;
    /// use covector_nn::losses::{cross_entropy, Reduction};
    /// let logits = Array::new([[2.0f32, -1.0], [-1.0, 2.0]]);
    /// let loss = cross_entropy(&logits, &Array::new([0, 1]), Reduction::Mean);
    /// assert!((loss.item::<f32>() - 0.04859).abs() < 1e-5);
    /// ```
    pub fn cross_entropy / try_cross_entropy(logits: &Array, targets: &Array, reduction: Reduction) {
        try_cross_entropy_with(logits, targets, &CrossEntropy { reduction, ..CrossEntropy::default() })
    }

    /// `log(1 + eˣ) − x · target` for logits `x` and targets between 0 and 1.
    pub fn binary_cross_entropy / try_binary_cross_entropy(logits: &Array, targets: &Array, reduction: Reduction) {
        let options = BinaryCrossEntropy { reduction, ..BinaryCrossEntropy::default() };
        try_binary_cross_entropy_with(logits, targets, &options)
    }

    /// `(prediction − target)²`.
    pub fn mse_loss / try_mse_loss(predictions: &Array, targets: &Array, reduction: Reduction) once(predictions, targets) {
        same_shape("mse_loss", "predictions", predictions, "targets", targets)?;
        reduction.of(&ops::try_square(&ops::try_subtract(predictions, targets)?)?)
    }

    /// `|prediction − target|`.
    pub fn l1_loss / try_l1_loss(predictions: &Array, targets: &Array, reduction: Reduction) once(predictions, targets) {
        same_shape("l1_loss", "predictions", predictions, "targets", targets)?;
        reduction.of(&ops::try_abs(&ops::try_subtract(predictions, targets)?)?)
    }

    /// The squared distance halved and divided by `beta` where it is below `beta`, the absolute distance less
    /// `beta / 2` elsewhere.
    pub fn smooth_l1_loss / try_smooth_l1_loss(predictions: &Array, targets: &Array, beta: f64, reduction: Reduction)
    once(predictions, targets) {
        same_shape("smooth_l1_loss", "predictions", predictions, "targets", targets)?;
        if beta <= 0.0 || beta.is_nan() {
            return Err(Error::value("smooth_l1_loss", format!("beta {beta} is not positive; for the limit 0 use l1_loss")));
        }
        let away = inexact(&ops::try_subtract(predictions, targets)?);
        let near = ops::try_less(&ops::try_abs(&away)?, &ops::constant_like(&away, beta))?;
        reduction.of(&square_or_line(&away, &near, 0.5 / beta, 1.0, 0.5 * beta)?)
    }

    /// The squared distance halved up to and at `delta`, and growing as a straight line beyond.
    pub fn huber_loss / try_huber_loss(inputs: &Array, targets: &Array, delta: f64, reduction: Reduction)
    once(inputs, targets) {
        check_positive("huber_loss", "delta", delta)?;
        let away = inexact(&ops::try_subtract(inputs, targets)?);
        let near = ops::try_less_equal(&ops::try_abs(&away)?, &ops::constant_like(&away, delta))?;
        reduction.of(&square_or_line(&away, &near, 0.5, delta, 0.5 * delta * delta)?)
    }

    /// `−x[target]` for logarithms of probabilities `x` with the classes on an axis.
    pub fn nll_loss / try_nll_loss(inputs: &Array, targets: &Array, axis: isize, reduction: Reduction) once(inputs) {
        let mut examples = inputs.shape().to_vec();
        examples.remove(class_axis("nll_loss", inputs, axis)?);
        if targets.shape() != examples {
            return Err(Error::shape("nll_loss", format!(
                "class indices for inputs of shape {} must have shape {}, not {}",
                ShapeText(inputs.shape()), ShapeText(&examples), ShapeText(targets.shape()),
            )));
        }
        reduction.of(&ops::try_negative(&chosen("nll_loss", inputs, targets, axis)?)?)
    }

    /// `Σ e^target (target − input)` along an axis: the Kullback–Leibler divergence of distributions that are
    /// both given as logarithms. A target of −∞, the probability 0, adds nothing.
    pub fn kl_div_loss / try_kl_div_loss(inputs: &Array, targets: &Array, axis: isize, reduction: Reduction)
    once(inputs, targets) {
        let targets = inexact(targets);
        let away = ops::try_subtract(&targets, inputs)?;
        // 0 · ∞ is kept out; every derivative is 0 there.
        let away = ops::try_where_(&ops::try_isneginf(&targets)?, &ops::constant_like(&away, 0.0), &away)?;
        let terms = ops::try_multiply(&ops::try_exp(&targets)?, &away)?;
        reduction.of(&ops::try_sum_axes(&terms, &[axis], false)?)
    }

    /// `(log v + (target − mean)² / v) / 2`, the negative logarithm of a normal density with variance `v`, which
    /// is at least `eps`; with `full` also its constant `log(2π) / 2`.
    pub fn gaussian_nll_loss / try_gaussian_nll_loss(
        inputs: &Array, targets: &Array, variances: &Array, full: bool, eps: f64, reduction: Reduction,
    ) once(inputs, targets, variances) {
        check_eps("gaussian_nll_loss", eps)?;
        same_shape("gaussian_nll_loss", "inputs", inputs, "targets", targets)?;
        same_shape("gaussian_nll_loss", "inputs", inputs, "variances", variances)?;
        let variances = inexact(variances);
        let variances = ops::try_maximum(&variances, &ops::constant_like(&variances, eps))?;
        // Divided first: the square of a large distance overflows.
        let away = ops::try_subtract(targets, inputs)?;
        let square = ops::try_multiply(&away, &ops::try_divide(&away, &variances)?)?;
        let loss = ops::try_add(&ops::try_log(&variances)?, &square)? * 0.5;
        reduction.of(&if full { loss + 0.5 * std::f64::consts::TAU.ln() } else { loss })
    }

    /// `max(1 − x · target, 0)` for targets −1 and 1.
    pub fn hinge_loss / try_hinge_loss(inputs: &Array, targets: &Array, reduction: Reduction) once(inputs, targets) {
        reduction.of(&relu(&(1.0 - ops::try_multiply(inputs, targets)?)))
    }

    /// `log cosh(x − target)`, without overflow.
    pub fn log_cosh_loss / try_log_cosh_loss(inputs: &Array, targets: &Array, reduction: Reduction)
    once(inputs, targets) {
        reduction.of(&ops::try_log_cosh(&inexact(&ops::try_subtract(inputs, targets)?))?)
    }

    /// `Σ a b / max(‖a‖ ‖b‖, eps)` along an axis, at any magnitude.
    pub fn cosine_similarity_loss / try_cosine_similarity_loss(
        a: &Array, b: &Array, axis: isize, eps: f64, reduction: Reduction,
    ) once(a, b) {
        check_eps("cosine_similarity_loss", eps)?;
        let (a, b) = (inexact(a), inexact(b));
        let dot = |a: &Array, b: &Array| ops::try_sum_axes(&ops::try_multiply(a, b)?, &[axis], false);
        // The result does not depend on the scales, so nothing is lost by not differentiating them.
        let ((a, a_scale), (b, b_scale)) = (scaled(&a, axis)?, scaled(&b, axis)?);
        let least = ops::try_divide(&ops::try_divide(&ops::constant_like(&a_scale, eps), &a_scale)?, &b_scale)?;
        // Of a zero vector the root has no derivative, and eps takes its place.
        let norm = |x: &Array| {
            let square = dot(x, x)?;
            let zero = ops::try_equal(&square, &ops::constant_like(&square, 0.0))?;
            let root = ops::try_sqrt(&ops::try_where_(&zero, &ops::constant_like(&square, 1.0), &square)?)?;
            ops::try_where_(&zero, &square, &root)
        };
        let norms = ops::try_maximum(&ops::try_multiply(&norm(&a)?, &norm(&b)?)?, &least)?;
        reduction.of(&ops::try_divide(&dot(&a, &b)?, &norms)?)
    }

    /// `max(−target · (a − b) + margin, 0)`: where the target is 1, `a` should be larger than `b` by the margin,
    /// where it is −1, the other way round.
    pub fn margin_ranking_loss / try_margin_ranking_loss(
        a: &Array, b: &Array, targets: &Array, margin: f64, reduction: Reduction,
    ) once(a, b, targets) {
        same_shape("margin_ranking_loss", "the first inputs", a, "the second inputs", b)?;
        same_shape("margin_ranking_loss", "the inputs", a, "targets", targets)?;
        let behind = ops::try_multiply(targets, &ops::try_subtract(b, a)?)?;
        reduction.of(&relu(&(behind + margin)))
    }

    /// `max(‖anchor − positive‖ − ‖anchor − negative‖ + margin, 0)`, in the `p`-norm along an axis, with `eps`
    /// added below the root.
    #[allow(clippy::too_many_arguments, reason = "the loss has three inputs and these parameters")]
    pub fn triplet_loss / try_triplet_loss(
        anchors: &Array, positives: &Array, negatives: &Array, axis: isize, p: f64, margin: f64, eps: f64,
        reduction: Reduction,
    ) once(anchors, positives, negatives) {
        check_positive("triplet_loss", "p", p)?;
        check_eps("triplet_loss", eps)?;
        let distance = |to: &Array| -> Result<Array> {
            let away = inexact(&ops::try_subtract(anchors, to)?);
            let powers = if p == 2.0 {
                ops::try_square(&away)?
            } else {
                ops::try_power(&ops::try_abs(&away)?, &ops::constant_like(&away, p))?
            };
            let sum = ops::try_sum_axes(&powers, &[axis], false)? + eps;
            if p == 2.0 { ops::try_sqrt(&sum) } else { ops::try_power(&sum, &ops::constant_like(&sum, 1.0 / p)) }
        };
        try_relu(&(ops::try_subtract(&distance(positives)?, &distance(negatives)?)? + margin))
            .and_then(|losses| reduction.of(&losses))
    }
}

fn class_axis(op: &'static str, x: &Array, axis: isize) -> Result<usize> {
    if x.ndim() == 0 {
        return Err(Error::shape(op, "a zero-dimensional array has no axis for the classes"));
    }
    covector_core::shape::normalize_axis(op, axis, x.ndim())
}

/// The elements of `x` that the class indices choose along an axis.
fn chosen(op: &'static str, x: &Array, classes: &Array, axis: isize) -> Result<Array> {
    if !classes.dtype().is_integer() {
        return Err(Error::dtype(
            op,
            format!(
                "class indices must be integers, not {}; convert them with astype, or give probabilities of shape {}",
                classes.dtype(),
                ShapeText(x.shape())
            ),
        ));
    }
    ops::pick_class(op, x, classes, axis)
}

/// Targets in floating point: integers and truth values in the type of the predictions.
fn typed_as(targets: &Array, predictions: &Array) -> Array {
    if targets.dtype().is_inexact() { targets.clone() } else { targets.astype(predictions.dtype()) }
}

/// `logit · target`, 0 where the target gives no probability to a class that the logit −∞ rules out.
fn expected(logits: &Array, targets: &Array) -> Result<Array> {
    let zero = ops::constant_like(logits, 0.0);
    let out = ops::try_logical_and(&ops::try_isneginf(logits)?, &ops::try_equal(targets, &zero)?)?;
    ops::try_multiply(&ops::try_where_(&out, &zero, logits)?, targets)
}

/// `scale · x²` where `near` is true, `slope · |x| − less` elsewhere. The square is of `x` itself: `|x|` has no second
/// derivative at 0.
fn square_or_line(x: &Array, near: &Array, scale: f64, slope: f64, less: f64) -> Result<Array> {
    let inside = ops::try_where_(near, x, &ops::constant_like(x, 0.0))?;
    ops::try_where_(near, &(ops::try_square(&inside)? * scale), &(ops::try_abs(x)? * slope - less))
}

/// The array over the greatest magnitude along an axis, and that magnitude without the axis; 1 in place of 0 or an infinity.
fn scaled(x: &Array, axis: isize) -> Result<(Array, Array)> {
    if x.size() == 0 {
        let shape = ops::try_sum_axes(x, &[axis], false)?;
        return Ok((x.clone(), ops::ones_like(&shape)));
    }
    let peak = ops::try_stop_gradient(&ops::try_max_axes(&ops::try_abs(x)?, &[axis], true)?)?;
    let usable = ops::try_logical_and(
        &ops::try_isfinite(&peak)?,
        &ops::try_greater(&peak, &ops::constant_like(&peak, 0.0))?,
    )?;
    let scale = ops::try_where_(&usable, &peak, &ops::constant_like(&peak, 1.0))?;
    Ok((ops::try_divide(x, &scale)?, ops::try_squeeze(&scale, &[axis])?))
}

fn weighted(op: &'static str, loss: Array, weights: Option<&Array>) -> Result<Array> {
    match weights {
        None => Ok(loss),
        Some(weights) => {
            same_shape(op, "weights", weights, "the unreduced loss", &loss)?;
            ops::try_multiply(&loss, weights)
        }
    }
}

/// The logarithm, at least −100, whose derivative is finite (0) where it is cut off.
fn limited_log(p: &Array) -> Result<Array> {
    let positive = ops::try_greater(p, &ops::constant_like(p, 0.0))?;
    let safe = ops::try_where_(&positive, p, &ops::constant_like(p, 1.0))?;
    let least = ops::constant_like(p, -100.0);
    ops::try_where_(&positive, &ops::try_maximum(&ops::try_log(&safe)?, &least)?, &least)
}
