//! What layers do beside computing: dropping out, passing a setting on, and refusing what does not fit.

use covector_core::{Array, Dtype, Error, ops, random};
use covector_nn::init::{self, Fan};
use covector_nn::losses::{self, BinaryCrossEntropy, CrossEntropy, Reduction};
use covector_nn::{Dropout, Embedding, Layer, LayerNorm, Linear, Relu, RmsNorm, functional as nn};

fn said<T>(result: covector_core::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this was to be refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn dropout_keeps_the_expected_value() {
    let x = ops::full(&[100, 100], 2.0, Dtype::F32);
    let y = nn::dropout(&x, 0.25, Some(&random::key(0)));
    let values = y.to_vec::<f32>();
    let scaled = 2.0 / 0.75;
    assert!(values.iter().all(|&v| v == 0.0 || (v - scaled).abs() < 1e-6));
    let kept = values.iter().filter(|&&v| v != 0.0).count();
    // Ten thousand draws: more than five standard deviations away would be a mistake.
    assert!((7283..=7717).contains(&kept), "{kept} of 10,000 were kept");
    // One key, one choice; another key, another.
    assert_eq!(nn::dropout(&x, 0.25, Some(&random::key(0))).to_vec::<f32>(), values);
    assert_ne!(nn::dropout(&x, 0.25, Some(&random::key(1))).to_vec::<f32>(), values);
}

#[test]
fn dropout_lets_no_nan_through_where_it_drops() {
    let x = ops::full(&[1000], f64::NAN, Dtype::F32);
    let zeros =
        nn::dropout(&x, 0.5, Some(&random::key(3))).equal(&Array::scalar(0.0f32)).astype(Dtype::I32).sum();
    assert!(zeros.item::<i32>() > 400);
}

#[test]
fn without_dropping_no_random_numbers_are_used() {
    let x = Array::new([1.0f32, 2.0]);
    random::seed(4);
    let before = random::state().to_vec::<u32>();
    assert!(Dropout::new(0.0).unwrap().forward(&x).is_same(&x));
    let mut dropout = Dropout::new(0.5).unwrap();
    dropout.set_training(false);
    assert!(dropout.forward(&x).is_same(&x));
    assert_eq!(random::state().to_vec::<u32>(), before);
    dropout.set_training(true);
    dropout.forward(&x);
    assert_ne!(random::state().to_vec::<u32>(), before);
}

#[test]
fn containers_pass_the_setting_on() {
    let dropout = || Dropout::new(0.5).unwrap();
    let mut net = (Relu, vec![Some(Box::new(dropout())), None], (dropout(), Relu));
    net.set_training(false);
    assert!(!net.1[0].as_ref().unwrap().training && !net.2.0.training);
    let x = Array::new([1.0f32, -2.0]);
    assert_eq!(net.forward(&x).to_vec::<f32>(), [1.0, 0.0]);
}

#[test]
fn layers_refuse_inputs_that_do_not_fit() {
    random::seed(0);
    let text = said(Linear::new(3, 2).try_forward(&ops::ones(&[5, 4], Dtype::F32)));
    assert_eq!(
        text,
        "[linear] the weight of shape (2, 3) takes 3 features in the last axis, but the input has shape (5, 4)"
    );
    assert!(said(Linear::new(3, 2).try_forward(&Array::scalar(1.0f32))).contains("the input has shape ()"));
    let (x, w) = (ops::ones(&[5, 3], Dtype::F32), ops::ones(&[2, 3], Dtype::F32));
    assert!(said(nn::try_linear(&x, &w, Some(&w))).contains("the bias must have shape (2,)"));
    assert!(said(nn::try_linear(&x, &x.index(&[0.into()]), None)).contains("must be a matrix"));
    assert!(said(LayerNorm::new(4).try_forward(&x)).contains("the weight must have shape (3,)"));
    assert!(said(RmsNorm::new(4).try_forward(&x)).contains("[rms_norm] the weight must have shape (3,)"));
    assert!(said(nn::try_layer_norm(&Array::scalar(1.0f32), None, None, 1e-5)).contains("no axis"));
    assert!(said(nn::try_layer_norm(&Array::new([1, 2]), None, None, 1e-5)).contains("the input is int32"));
    assert!(said(nn::try_glu(&x, -1)).contains("cannot be cut into 2 equal parts"));
    assert!(said(Dropout::new(1.0)).contains("the probability 1 is not in [0, 1)"));
    assert!(said(nn::try_dropout(&x, -0.1, None)).contains("-0.1 is not in [0, 1)"));
    let table = Embedding::new(4, 2);
    let text = said(table.try_forward(&Array::new([0.5f32])));
    assert!(text.contains("rows are chosen by integers, not by float32"), "{text}");
    assert!(said(table.forward(&Array::new([0, 4])).try_eval().map(|_| ())).contains("4"));
    // Refusals leave everything usable.
    assert_eq!(table.forward(&Array::new([[0, -1]])).shape(), [1, 2, 2]);
}

#[test]
fn losses_refuse_targets_that_do_not_fit() {
    let (x, t) = (ops::ones(&[4, 3], Dtype::F32), ops::ones(&[4, 1], Dtype::F32));
    let mean = Reduction::Mean;
    type Loss = fn(&Array, &Array) -> covector_core::Result<Array>;
    let same_shape: [Loss; 5] = [
        |x, t| losses::try_mse_loss(x, t, Reduction::Mean),
        |x, t| losses::try_l1_loss(x, t, Reduction::Mean),
        |x, t| losses::try_smooth_l1_loss(x, t, 1.0, Reduction::Mean),
        |x, t| losses::try_binary_cross_entropy(x, t, Reduction::Mean),
        |x, t| losses::try_gaussian_nll_loss(x, t, x, false, 1e-6, Reduction::Mean),
    ];
    for loss in same_shape {
        let text = said(loss(&x, &t));
        assert!(
            text.contains("(4, 3)") && text.contains("(4, 1)") && text.contains("must have one shape"),
            "{text}"
        );
    }
    assert!(said(losses::try_smooth_l1_loss(&x, &x, 0.0, mean)).contains("beta 0 is not positive"));
    assert!(said(losses::try_margin_ranking_loss(&x, &t, &x, 0.0, mean)).contains("the second inputs"));

    let classes = Array::new([0, 1, 2, 0]);
    let text = said(losses::try_cross_entropy(&x, &Array::new([0, 1]), mean));
    assert!(text.contains("(2,)") && text.contains("class indices, of shape (4,)"), "{text}");
    let text = said(losses::try_cross_entropy(&x, &classes.astype(Dtype::F32), mean));
    assert!(text.contains("class indices must be integers, not float32"), "{text}");
    let with = |options: CrossEntropy<'_>| losses::try_cross_entropy_with(&x, &classes, &options);
    assert!(
        said(with(CrossEntropy { label_smoothing: 1.0, ..Default::default() })).contains("is not in [0, 1)")
    );
    assert!(
        said(with(CrossEntropy { label_smoothing: f64::NAN, ..Default::default() }))
            .contains("smoothing NaN")
    );
    assert!(
        said(with(CrossEntropy { weights: Some(&x), ..Default::default() }))
            .contains("weights of shape (4, 3)")
    );
    assert!(matches!(with(CrossEntropy { axis: 2, ..Default::default() }), Err(Error::Axis { .. })));
    assert!(
        said(losses::try_cross_entropy(&Array::scalar(1.0f32), &Array::scalar(0), mean)).contains("no axis")
    );
    // A class that is not there shows when the value is asked for.
    assert!(losses::cross_entropy(&x, &Array::new([0, 1, 2, 3]), mean).try_item::<f32>().is_err());

    let options = BinaryCrossEntropy { weights: Some(&t), ..Default::default() };
    assert!(
        said(losses::try_binary_cross_entropy_with(&x, &x, &options)).contains("weights of shape (4, 1)")
    );
    assert!(
        said(losses::try_nll_loss(&x, &Array::new([0, 1]), -1, mean))
            .contains("must have shape (4,), not (2,)")
    );
    assert!(
        said(Reduction::named("avg")).contains("\"avg\" is none of the reductions 'none', 'mean' and 'sum'")
    );
}

#[test]
fn initialisers_refuse_shapes_that_do_not_fit() {
    assert!(
        said(init::identity(&[2, 3], Dtype::F32)).contains("shape (2, 3) is not that of a square matrix")
    );
    assert!(said(init::glorot_uniform(&[3], 1.0, Dtype::F32, None)).contains("shape (3,) does not have two"));
    assert!(
        said(init::he_normal(&[], Fan::In, 1.0, Dtype::F32, None)).contains("shape () does not have two")
    );
    assert!(init::normal(&[2], 0.0, 1.0, Dtype::I32, None).is_err());
}

#[test]
fn integers_count_as_numbers() {
    let x = Array::new([1, -2, 0]);
    assert_eq!(nn::relu(&x).to_vec::<i32>(), [1, 0, 0]);
    assert_eq!(nn::leaky_relu(&x, 0.5).to_vec::<f32>(), [1.0, -1.0, 0.0]);
    assert_eq!(nn::step(&x, 0.0).to_vec::<i32>(), [1, 0, 1]);
    assert_eq!(nn::hard_shrink(&x, 0.5).to_vec::<i32>(), [1, -2, 0]);
    assert_eq!(losses::mse_loss(&x, &Array::new([3, 5, 0]), Reduction::Mean).dtype(), Dtype::F32);
    let whole = losses::cross_entropy(&Array::new([[1, 2]]), &Array::new([1]), Reduction::None);
    assert!((whole.item::<f32>() - 0.313_261_7).abs() < 1e-6);
}

#[test]
#[should_panic(expected = "[mse_loss] predictions of shape (1,) and targets of shape (2,)")]
fn plain_forms_panic_with_the_same_text() {
    losses::mse_loss(&Array::new([1.0f32]), &Array::new([1.0f32, 2.0]), Reduction::Mean);
}
