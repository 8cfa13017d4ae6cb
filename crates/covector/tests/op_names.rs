//! The error of an operation names the public operation, whichever operations it uses, both at the call and when the
//! values are computed. Every public operation is in the table of errors, or in the list of those that take any array.

use covector::ops::{self, Attention, ConvOptions, Frequencies, Index, Mask, Offset, Rope, Update};
use covector::{Array, Dtype, Result, eval, nn, nn::losses, random};
use std::collections::BTreeSet;

/// The result of an operation, which can be evaluated.
trait Outputs {
    fn arrays(self) -> Vec<Array>;
}
impl Outputs for Array {
    fn arrays(self) -> Vec<Array> {
        vec![self]
    }
}
impl Outputs for Vec<Array> {
    fn arrays(self) -> Vec<Array> {
        self
    }
}
impl Outputs for (Array, Array) {
    fn arrays(self) -> Vec<Array> {
        vec![self.0, self.1]
    }
}
impl Outputs for ops::EinsumPath {
    fn arrays(self) -> Vec<Array> {
        Vec::new()
    }
}

#[derive(Default)]
struct Table {
    seen: BTreeSet<&'static str>,
    wrong: Vec<String>,
}

impl Table {
    /// Checks `result`, which the function `name` returned for a wrong input.
    fn fails<T: Outputs>(&mut self, name: &'static str, result: Result<T>) {
        self.seen.insert(name);
        let error = match result.and_then(|x| eval(&x.arrays())) {
            Err(error) => error.to_string(),
            Ok(()) => return self.wrong.push(format!("{name} took a wrong input")),
        };
        // Messages call `sum_axes` sum, and `where_` where.
        let public = match name {
            "argmax_axis" => "argmax",
            "argmin_axis" => "argmin",
            "permutation_of" => "permutation",
            "split_at" => "split",
            name => name.strip_suffix("_axes").unwrap_or(name).trim_end_matches('_'),
        };
        if !error.starts_with(&format!("[{public}] ")) {
            self.wrong.push(format!("{name} says {error}"));
        }
    }
}

macro_rules! table {
    ($table:ident, $module:ident: $($name:ident ($($arg:expr),* $(,)?);)*) => {$(
        $table.fails(stringify!($name).trim_start_matches("try_"), $module::$name($($arg),*));
    )*};
}

#[test]
fn an_error_names_the_operation_that_was_called() {
    let mut table = Table::default();
    let t = &mut table;
    let (x, y) = (&ops::ones(&[2, 3], Dtype::F32), &ops::ones(&[4, 5], Dtype::F32));
    let (one, empty) = (&Array::scalar(1.0f32), &ops::ones(&[0, 3], Dtype::F32));
    let (far, half) = (&Array::new([9i32]), &Array::new([0.5f32]));
    let (line, text) = (&ops::ones(&[3], Dtype::F32), &ops::ones(&[3], Dtype::Bool));
    let complex = &ops::ones(&[3], Dtype::C64);
    let over = &[x.clone(), y.clone()];

    table! { t, ops:
        try_sum_axes(x, &[5], false);
        try_prod_axes(x, &[5], false);
        try_max_axes(x, &[5], false);
        try_min_axes(x, &[5], false);
        try_all_axes(x, &[5], false);
        try_any_axes(x, &[5], false);
        try_mean_axes(x, &[5], false);
        try_logsumexp_axes(x, &[5], false);
        try_var_axes(x, &[5], false, 0);
        try_std_axes(x, &[5], false, 0);
        try_median_axes(x, &[5], false);
        try_count_nonzero_axes(x, &[5], false);
        try_minmax(x, &[5], false);
        try_max(empty);
        try_min(empty);
        try_logsumexp(empty);
        try_argmax(empty);
        try_argmin(empty);
        try_median(empty);
        try_softmax(x, &[5]);
        try_argmax_axis(x, 5, false);
        try_argmin_axis(x, 5, false);
        try_sort(x, 5);
        try_argsort(x, 5);
        try_partition(x, 0, 5);
        try_argpartition(x, 0, 5);
        try_topk(x, 1, 5);
        try_cumsum(x, 5, false, true);
        try_cumprod(x, 5, false, true);
        try_cummax(x, 5, false, true);
        try_cummin(x, 5, false, true);
        try_logcumsumexp(x, 5, false, true);
        try_diff(x, 1, 5);
        try_searchsorted(x, line, false);

        try_take(x, far, 0);
        try_take(x, half, 0);
        try_take(x, far, 7);
        try_take_along_axis(x, &Array::new([[9i32]]), 0);
        try_take_along_axis(x, half, 0);
        try_put_along_axis(x, &Array::new([[9i32]]), one, 0);
        try_put_along_axis(x, half, one, 0);
        try_put_along_axis(x, &Array::new([[0i32]]), y, 0);
        try_scatter_add_axis(x, &Array::new([[9i32]]), one, 0);
        try_scatter_add_axis(x, half, one, 0);
        try_index(x, &[Index::At(9)]);
        try_index(x, &[Index::Array(far.clone())]);
        try_index(x, &[Index::Array(half.clone())]);
        try_index(x, &[Index::Array(text.clone())]);
        try_index_set(x, &[Index::At(9)], one);
        try_index_set(x, &[Index::Array(far.clone())], one);
        try_index_set(x, &[Index::At(0)], y);
        try_index_update(x, &[Index::At(9)], one, Update::Add);
        try_index_update(x, &[Index::Array(far.clone())], one, Update::Multiply);
        try_index_update(x, &[Index::At(0)], y, Update::Divide);

        try_reshape(x, &[7]);
        try_transpose(x, &[0, 0]);
        try_moveaxis(x, 5, 0);
        try_swapaxes(x, 5, 0);
        try_expand_dims(x, &[9]);
        try_squeeze(x, &[0]);
        try_flatten(x, 5, 6);
        try_unflatten(x, 0, &[7]);
        try_broadcast_to(x, &[5]);
        try_mt(one);
        try_pad(x, &[1], &[1], one);
        try_diagonal(x, 0, 5, 1);
        try_diag(&ops::ones(&[2, 2, 2], Dtype::F32), 0);
        try_tril(one, 0);
        try_triu(one, 0);
        try_repeat(x, 2, 5);
        try_roll(x, 1, 5);
        try_flip(x, &[5]);
        try_view(line, Dtype::F64);
        try_trace(one, 0, 0, 1);
        try_concatenate(over, 0);
        try_concatenate(&[], 0);
        try_stack(over, 0);
        try_stack(&[x.clone(), x.clone()], 7);
        try_split(x, 2, 1);
        try_split_at(x, &[1], 5);
        try_unstack(x, 5);
        try_meshgrid(over, false, false);
        try_broadcast_arrays(over);

        try_where_(x, x, y);
        try_clip(x, Some(y), None);
        try_clip(x, None, Some(y));
        try_isclose(x, y, 0.0, 0.0, false);
        try_allclose(x, y, 0.0, 0.0, false);
        try_logical_xor(x, y);
        try_divmod(x, y);
        try_matmul(x, y);
        try_matmul(one, x);
        try_addmm(one, x, y, 1.0, 1.0);
        try_addmm(y, x, &x.transpose(&[1, 0]), 1.0, 1.0);
        try_inner(x, y);
        try_vecdot(x, y, -1);
        try_cross(x, y, -1);
        try_tensordot(x, y, &[0], &[0]);
        try_einsum("ij,jk->ik", over);
        try_einsum("ij,jk->ik", &[x.astype(Dtype::I32), x.astype(Dtype::I32).transpose(&[1, 0])]);
        try_einsum_path("ij,jk->ik", over);

        try_full(&[2], y);
        try_arange(0.0, 1.0, 0.0, Dtype::F32);
        try_linspace(0.0, 1.0, usize::MAX, Dtype::F32);
        try_eye(usize::MAX, 2, 0, Dtype::F32);
        try_identity(usize::MAX, Dtype::F32);
        try_tri(usize::MAX, 2, 0, Dtype::F32);

        try_conv1d(x, y, 1, 0, 1, 1);
        try_conv2d(x, y, [1; 2], [0; 2], [1; 2], 1);
        try_conv3d(x, y, [1; 3], [0; 3], [1; 3], 1);
        try_conv_transpose1d(x, y, 1, 0, 1, 0, 1);
        try_conv_transpose2d(x, y, [1; 2], [0; 2], [1; 2], [0; 2], 1);
        try_conv_transpose3d(x, y, [1; 3], [0; 3], [1; 3], [0; 3], 1);
        try_conv_general(x, y, &ConvOptions::default());
        try_max_pool(x, &[2], &[1], &[0]);
        try_avg_pool(x, &[2], &[1], &[0]);
        try_layer_norm(x, Some(y), None, 1e-5);
        try_layer_norm(one, None, None, 1e-5);
        try_rms_norm(x, Some(y), 1e-5);
        try_rope(x, &Rope { dims: 9, traditional: false, frequencies: Frequencies::Base(10.0), scale: 1.0, offset: Offset::All(0) });
        try_scaled_dot_product_attention(x, y, y, &Attention { scale: 1.0, mask: Mask::None, sinks: None });
    }
    // Elementwise functions, from their tables: shapes that do not broadcast, and types that are not supported.
    for (row, function) in covector_core::registry::elementwise() {
        use covector_core::RowFn;
        match function {
            RowFn::Two(f) => t.fails(row.name, f(x, y)),
            RowFn::One(f) => match f(complex).and_then(|x| eval(&[x])) {
                Ok(()) => {
                    t.seen.insert(row.name);
                }
                Err(error) => t.fails(row.name, Err::<Array, _>(error)),
            },
        }
    }
    // These take any array.
    let any = [
        "sum",
        "prod",
        "all",
        "any",
        "mean",
        "var",
        "std",
        "count_nonzero",
        "squeeze_all",
        "astype",
        "stop_gradient",
        "real",
        "imag",
        "conjugate",
        "nan_to_num",
        "array_equal",
        "copy",
        "constant",
        "constant_like",
        "pick_class",
        "outer",
        "kron",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "tile",
        "round",
        "abs",
        "sign",
        "zeros",
        "ones",
        "zeros_like",
        "ones_like",
        "positive",
        "bartlett",
        "hanning",
        "hamming",
        "blackman",
    ];
    table.seen.extend(any);
    let own = |name: &&str| !name.starts_with("random_");
    let names: BTreeSet<&str> =
        covector_core::registry::specs().iter().map(|spec| spec.name).filter(own).collect();
    table.seen = table.seen.iter().map(|name| name.trim_end_matches('_')).collect();
    let missing: Vec<&&str> = names.difference(&table.seen).collect();
    assert!(missing.is_empty(), "operations that the table lacks: {missing:?}");
    assert!(table.wrong.is_empty(), "{:#?}", table.wrong);
}

#[test]
fn a_random_function_and_a_loss_name_themselves() {
    let mut table = Table::default();
    let t = &mut table;
    let (x, y) = (&ops::ones(&[2, 3], Dtype::F32), &ops::ones(&[4, 5], Dtype::F32));
    let (classes, far, half) = (&Array::new([9i32, 0]), &Array::new([7i32]), &Array::new([0.5f32]));
    let mean = losses::Reduction::Mean;
    let p = |x: &Array| random::Operand::from(x.clone());
    table! { t, random:
        uniform(p(y), 1.0, &[2], Dtype::F32, None);
        uniform(0.0, 1.0, &[2], Dtype::F32, Some(half));
        normal(&[2], Dtype::I32, 0.0, 1.0, None);
        normal(&[2], Dtype::F32, p(y), 1.0, None);
        normal(&[2], Dtype::F32, 0.0, p(y), None);
        normal(&[2], Dtype::C64, 0.0, p(y), None);
        laplace(&[2], Dtype::F32, 0.0, p(y), None);
        laplace(&[2], Dtype::F32, p(y), 2.0, None);
        truncated_normal(p(y), 1.0, Some(&[2]), Dtype::F32, None);
        randint(0, 1, &[2], Dtype::F32, None);
        bernoulli(p(y), Some(&[2]), None);
        gumbel(&[2], Dtype::I32, None);
        laplace(&[2], Dtype::I32, 0.0, 1.0, None);
        permutation_of(x, 5, None);
        categorical(x, 5, None, None, None);
        bits(&[2], Dtype::F32, None);
        split(half, 2);
    }
    table! { t, losses:
        try_cross_entropy(x, classes, mean);
        try_cross_entropy(x, half, mean);
        try_binary_cross_entropy(x, y, mean);
        try_mse_loss(x, y, mean);
        try_l1_loss(x, y, mean);
        try_smooth_l1_loss(x, y, 1.0, mean);
        try_huber_loss(x, y, 1.0, mean);
        try_nll_loss(x, classes, -1, mean);
        try_nll_loss(x, y, -1, mean);
        try_kl_div_loss(x, y, -1, mean);
        try_gaussian_nll_loss(x, y, y, false, 1e-6, mean);
        try_hinge_loss(x, y, mean);
        try_log_cosh_loss(x, y, mean);
        try_cosine_similarity_loss(x, y, 1, 1e-8, mean);
        try_margin_ranking_loss(x, y, x, 0.0, mean);
        try_triplet_loss(x, y, x, -1, 2.0, 1.0, 1e-6, mean);
    }
    table! { t, nn:
        try_prelu(x, y);
        try_softmax(x, 5);
        try_softmin(x, 5);
        try_log_softmax(x, 5);
        try_glu(x, 5);
        try_linear(x, y, None);
        try_embedding(far, x);
        try_embedding(half, x);
        try_dropout(x, 2.0, None);
    }
    assert!(table.wrong.is_empty(), "{:#?}", table.wrong);
}

#[test]
fn a_reading_method_names_itself() {
    let x = Array::new([1.0f32, 2.0]);
    let text = |e: covector::Error| e.to_string();
    assert!(
        text(Array::scalar(1.0f32).try_item::<f64>().unwrap_err())
            .starts_with("[item] the array holds float32")
    );
    assert!(text(x.try_item::<f32>().unwrap_err()).starts_with("[item] an array of shape (2,)"));
    assert!(text(x.try_to_vec::<i32>().unwrap_err()).starts_with("[to_vec] the array holds float32"));
}

/// Two operations may differ only in the name that messages show. Such operations do not share a plan.
#[test]
fn two_operations_that_read_by_index_each_name_themselves() {
    let (x, far) = (Array::new([1.0f32, 2.0]), Array::new([5i32]));
    for _ in 0..2 {
        let take = ops::take(&x, &far, 0).try_eval().unwrap_err().to_string();
        let index = ops::index(&x, &[Index::Array(far.clone())]).try_eval().unwrap_err().to_string();
        assert_eq!(take, "[take] index 5 is out of bounds for axis 0 with extent 2");
        assert_eq!(index, "[index] index 5 is out of bounds for axis 0 with extent 2");
    }
}
