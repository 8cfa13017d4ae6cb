//! Python trees: lists, tuples, dicts, named tuples and dataclasses, flattened to arrays and rebuilt.
//!
//! A tree's structure is the list of its nodes in reading order, each container before its children. Flattening follows
//! that order with a stack of its own; rebuilding walks the list backwards. Neither recurses, so deeply nested trees
//! cannot overflow the stack. The path to a leaf is computed only for an error message.

mod compare;
mod fixed;
mod written;

use crate::array::PyArray;
use covector_core::Array;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

pub(crate) use compare::Snapshot;
pub(crate) use written::Handed;

/// A tree nested deeper than this most likely contains itself.
const MAX_DEPTH: u32 = 10_000;

/// One node of a tree.
enum Step {
    /// An array.
    Array,
    /// An object that is neither an array nor a container. It is passed through unchanged.
    Static(Py<PyAny>),
    /// A list, and its number of items.
    List(usize),
    /// A tuple, and its number of items.
    Tuple(usize),
    /// A dict with these keys.
    Dict(Vec<Py<PyAny>>),
    /// A container of another type.
    Custom(Box<Custom>),
}

#[derive(Clone, Copy)]
enum Kind {
    List,
    Tuple,
    Dict,
    Dataclass,
}

/// A container whose type Python code defined.
struct Custom {
    kind: Kind,
    /// A shallow copy, from which new containers are made; for a tuple its type.
    template: Py<PyAny>,
    /// The key of each child: dict keys, or the fields of a dataclass or named tuple.
    keys: Vec<Py<PyAny>>,
    len: usize,
}

impl Step {
    fn len(&self) -> usize {
        match self {
            Step::Array | Step::Static(_) => 0,
            Step::List(n) | Step::Tuple(n) => *n,
            Step::Dict(keys) => keys.len(),
            Step::Custom(custom) => custom.len,
        }
    }

    fn keys(&self) -> &[Py<PyAny>] {
        match self {
            Step::Dict(keys) => keys,
            Step::Custom(custom) => &custom.keys,
            _ => &[],
        }
    }

    fn is_dict(&self) -> bool {
        matches!(self, Step::Dict(_)) || matches!(self, Step::Custom(c) if matches!(c.kind, Kind::Dict))
    }

    /// The step from this container to child `i`, in Python's syntax.
    fn segment(&self, py: Python<'_>, i: usize) -> String {
        let Some(key) = self.keys().get(i) else { return format!("[{i}]") };
        let key = key.bind(py);
        if self.is_dict() {
            key.repr().map_or_else(|_| "[…]".to_owned(), |text| format!("[{text}]"))
        } else {
            format!(".{key}")
        }
    }

    /// Describes the container in messages.
    fn describe(&self, py: Python<'_>) -> String {
        let n = self.len();
        match self {
            Step::Array => "an array".to_owned(),
            Step::Static(x) => a_thing(x.bind(py)),
            Step::List(_) => format!("a list of {n}"),
            Step::Tuple(_) => format!("a tuple of {n}"),
            Step::Dict(_) => format!("a dict with {n} keys"),
            Step::Custom(c) => {
                let template = c.template.bind(py);
                let kind = if matches!(c.kind, Kind::Tuple) {
                    template.clone()
                } else {
                    template.get_type().into_any()
                };
                format!(
                    "a {} of {n}",
                    kind.getattr("__name__").map_or_else(|_| "container".to_owned(), |n| n.to_string())
                )
            }
        }
    }
}

/// Describes an object in messages: `a float`, `None`, ….
pub(crate) fn a_thing(x: &Bound<'_, PyAny>) -> String {
    if x.is_none() {
        return "None".to_owned();
    }
    let name = x.get_type().name().map_or_else(|_| "object".to_owned(), |n| n.to_string());
    let article =
        if name.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn copy<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    COPY.import(x.py(), "copy", "copy")?.call1((x,))
}

/// The fields of a dataclass instance that are part of the tree: all except those with `metadata={"static": True}`.
fn dataclass_fields(x: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Py<PyAny>>>> {
    let py = x.py();
    let Some(fields) = x.get_type().getattr_opt("__dataclass_fields__")? else { return Ok(None) };
    let Ok(fields) = fields.cast_into::<PyDict>() else { return Ok(None) };
    let mut names = Vec::with_capacity(fields.len());
    static FIELD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let ordinary = FIELD.import(py, "dataclasses", "_FIELD").ok();
    for (name, field) in fields.iter() {
        // The table also has ClassVar and InitVar pseudo-fields.
        if ordinary.is_some_and(|o| field.getattr("_field_type").is_ok_and(|kind| !kind.is(o))) {
            continue;
        }
        let fixed = field.getattr("metadata")?.call_method1("get", ("static", false))?;
        if !fixed.is_truthy()? {
            names.push(name.unbind());
        }
    }
    Ok(Some(names))
}

/// The structure of a Python tree.
pub(crate) struct Tree {
    steps: Vec<Step>,
    /// For each step the recorded static values, if [`Tree::fix`] has found some that can change.
    fixed: Vec<Vec<fixed::Fixed>>,
}

type Work<'py> = Vec<(Bound<'py, PyAny>, u32)>;

impl Tree {
    /// Flattens `root`: pushes its arrays onto `leaves`, in order.
    pub(crate) fn flatten(root: &Bound<'_, PyAny>, leaves: &mut Vec<Array>) -> PyResult<Self> {
        if let Ok(array) = root.cast::<PyArray>() {
            leaves.push(array.get().get());
            return Ok(Self { steps: vec![Step::Array], fixed: Vec::new() });
        }
        let mut steps = Vec::new();
        let mut work: Work<'_> = vec![(root.clone(), 0)];
        while let Some((object, depth)) = work.pop() {
            let first = work.len();
            let step = if let Ok(array) = object.cast::<PyArray>() {
                leaves.push(array.get().get());
                Step::Array
            } else if let Ok(dict) = object.cast_exact::<PyDict>() {
                let mut keys = Vec::with_capacity(dict.len());
                for (key, value) in dict.iter() {
                    keys.push(key.unbind());
                    work.push((value, depth + 1));
                }
                Step::Dict(keys)
            } else if let Ok(list) = object.cast_exact::<PyList>() {
                work.extend(list.iter().map(|x| (x, depth + 1)));
                // Counted afterwards, because another thread may have changed the list meanwhile.
                Step::List(work.len() - first)
            } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
                work.extend(tuple.iter().map(|x| (x, depth + 1)));
                Step::Tuple(tuple.len())
            } else {
                Self::unusual(&object, depth, &mut work)?
            };
            if depth >= MAX_DEPTH && work.len() > first {
                return Err(PyRecursionError::new_err(format!(
                    "[tree] the tree is nested deeper than {MAX_DEPTH} levels; does it contain itself?"
                )));
            }
            work[first..].reverse();
            steps.push(step);
        }
        Ok(Self { steps, fixed: Vec::new() })
    }

    /// Handles an object that is neither an array nor a built-in container.
    fn unusual<'py>(object: &Bound<'py, PyAny>, depth: u32, work: &mut Work<'py>) -> PyResult<Step> {
        let fixed = || Ok(Step::Static(object.clone().unbind()));
        if object.is_none()
            || object.is_exact_instance_of::<PyFloat>()
            || object.is_exact_instance_of::<PyInt>()
            || object.is_exact_instance_of::<PyBool>()
            || object.is_exact_instance_of::<PyString>()
        {
            return fixed();
        }
        let first = work.len();
        let mut keys = Vec::new();
        let (kind, template) = if let Ok(dict) = object.cast::<PyDict>() {
            let template = copy(object)?;
            // The stored keys and values; iteration that a subclass overrides is not used.
            for (key, value) in dict.iter() {
                keys.push(key.unbind());
                work.push((value, depth + 1));
            }
            (Kind::Dict, template)
        } else if let Ok(list) = object.cast::<PyList>() {
            let template = copy(object)?;
            work.extend(list.iter().map(|x| (x, depth + 1)));
            (Kind::List, template)
        } else if let Ok(tuple) = object.cast::<PyTuple>() {
            let class = object.get_type();
            if class.hasattr("n_sequence_fields")? {
                // Structures of the operating system, such as time.struct_time, hold no arrays.
                return fixed();
            }
            if let Some(fields) = class.getattr_opt("_fields")?
                && let Ok(fields) = fields.cast_into::<PyTuple>()
            {
                keys.extend(fields.iter().map(Bound::unbind));
            }
            work.extend(tuple.iter().map(|x| (x, depth + 1)));
            (Kind::Tuple, class.into_any())
        } else if object.is_instance_of::<PyType>() {
            return fixed();
        } else if let Some(names) = dataclass_fields(object)? {
            for name in &names {
                work.push((object.getattr(name.bind(object.py()).cast::<PyString>()?)?, depth + 1));
            }
            keys = names;
            (Kind::Dataclass, copy(object)?)
        } else {
            return fixed();
        };
        let len = work.len() - first;
        Ok(Step::Custom(Box::new(Custom { kind, template: template.unbind(), keys, len })))
    }

    /// The tree with other arrays, of the same number.
    pub(crate) fn unflatten<'py>(&self, py: Python<'py>, leaves: &[Array]) -> PyResult<Bound<'py, PyAny>> {
        if let [Step::Array] = &self.steps[..]
            && let [leaf] = leaves
        {
            return Ok(Bound::new(py, PyArray::new(leaf.clone()))?.into_any());
        }
        let mut rest = leaves.iter().rev();
        self.build(py, |py| match rest.next() {
            Some(leaf) => Ok(Bound::new(py, PyArray::new(leaf.clone()))?.into_any()),
            None => {
                Err(PyValueError::new_err(format!("[tree] {} arrays do not fill the tree", leaves.len())))
            }
        })
    }

    /// The tree with other objects in place of its arrays. `leaf` is called for the last one first.
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        leaf: impl FnMut(Python<'py>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.build_with(py, true, leaf)
    }

    /// As [`Tree::build`]. Objects that are not arrays stay, or are replaced by `None`.
    pub(crate) fn build_with<'py>(
        &self,
        py: Python<'py>,
        keep: bool,
        leaf: impl FnMut(Python<'py>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.build_noting(py, keep, leaf, |_| ())
    }

    /// As [`Tree::build_with`]. `note` is called with the object of each step, the last step first.
    fn build_noting<'py>(
        &self,
        py: Python<'py>,
        keep: bool,
        mut leaf: impl FnMut(Python<'py>) -> PyResult<Bound<'py, PyAny>>,
        mut note: impl FnMut(&Bound<'py, PyAny>),
    ) -> PyResult<Bound<'py, PyAny>> {
        // Backwards, so that a container finds its children on the stack, the first child on top.
        let mut done: Vec<Bound<'py, PyAny>> = Vec::new();
        for step in self.steps.iter().rev() {
            let n = step.len();
            let object = {
                let at = done.len() - n;
                let mut children = done.drain(at..).rev();
                match step {
                    Step::Array => leaf(py)?,
                    Step::Static(object) if keep => object.bind(py).clone(),
                    Step::Static(_) => py.None().into_bound(py),
                    Step::List(_) => PyList::new(py, children)?.into_any(),
                    Step::Tuple(_) => PyTuple::new(py, children)?.into_any(),
                    Step::Dict(keys) => {
                        let dict = PyDict::new(py);
                        for (key, child) in keys.iter().zip(&mut children) {
                            dict.set_item(key, child)?;
                        }
                        dict.into_any()
                    }
                    Step::Custom(custom) => custom.build(py, &mut children)?,
                }
            };
            note(&object);
            done.push(object);
        }
        done.pop().ok_or_else(|| PyValueError::new_err("[tree] an empty structure"))
    }

    /// The objects in `other` at the positions of this tree's arrays. `other` must have this tree's structure, except that
    /// lists and tuples are interchangeable.
    pub(crate) fn match_up<'py>(
        &self,
        op: &str,
        what: &str,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = other.py();
        let mut found = Vec::new();
        let mut work = vec![other.clone()];
        for (i, step) in self.steps.iter().enumerate() {
            let Some(object) = work.pop() else { break };
            match step {
                Step::Array => found.push(object),
                Step::Static(_) => {}
                _ => match step.children_in(&object)? {
                    Some(children) => work.extend(children.into_iter().rev()),
                    None => {
                        return Err(PyValueError::new_err(format!(
                            "[{op}] {what}{} must be {}, but {} was received; give it the same structure",
                            self.path(py, i),
                            step.describe(py),
                            a_thing(&object),
                        )));
                    }
                },
            }
        }
        Ok(found)
    }

    /// The objects in `other` at the positions of this tree's arrays. `other` may have further entries. A missing entry is a
    /// `KeyError`.
    pub(crate) fn pick_from<'py>(
        &self,
        op: &str,
        what: &str,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = other.py();
        let mut found = Vec::new();
        let mut work = vec![other.clone()];
        for (i, step) in self.steps.iter().enumerate() {
            let Some(object) = work.pop() else { break };
            match step {
                Step::Array => found.push(object),
                Step::Static(_) => {}
                _ => match step.some_children_in(&object)? {
                    Ok(children) => work.extend(children.into_iter().rev()),
                    Err(missing) => {
                        return Err(PyKeyError::new_err(format!(
                            "[{op}] {what}{} {missing}",
                            self.path(py, i)
                        )));
                    }
                },
            }
        }
        Ok(found)
    }

    /// The axis of each array when `axes` is an int, None, or a tree of these that may end above the arrays.
    pub(crate) fn spread_axes(
        &self,
        op: &str,
        what: &str,
        axes: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Option<isize>>> {
        let py = axes.py();
        let mut found = Vec::new();
        let mut work = vec![axes.clone()];
        for (i, step) in self.steps.iter().enumerate() {
            let Some(axis) = work.pop() else { break };
            let plain = axis.is_none() || axis.is_instance_of::<PyInt>();
            match step {
                Step::Array if plain => found.push(axis.extract::<Option<isize>>().map_err(|_| {
                    PyIndexError::new_err(format!("[{op}] {what} {axis} is out of range for any array"))
                })?),
                Step::Static(x) if plain => {
                    // None is an empty tree; anything else has no axis to map over.
                    if !axis.is_none() && !x.is_none(py) {
                        return Err(PyValueError::new_err(format!(
                            "[{op}] {what} gives axis {axis} to the leaf{} that is {}, not an array; give it \
                             None, or capture the value instead of passing it",
                            self.path(py, i),
                            a_thing(x.bind(py)),
                        )));
                    }
                }
                Step::Array | Step::Static(_) => {
                    return Err(PyValueError::new_err(format!(
                        "[{op}] {what}{} must be an int or None for a leaf, but {} was received",
                        self.path(py, i),
                        a_thing(&axis),
                    )));
                }
                _ if plain => work.extend(std::iter::repeat_n(axis, step.len())),
                _ => match step.children_in(&axis)? {
                    Some(children) => work.extend(children.into_iter().rev()),
                    None => {
                        return Err(PyValueError::new_err(format!(
                            "[{op}] {what}{} must be an int, None, or {} of these, as the arrays are; {} was received",
                            self.path(py, i),
                            step.describe(py),
                            a_thing(&axis),
                        )));
                    }
                },
            }
        }
        Ok(found)
    }

    /// The first object that is neither an array nor a container, and its path.
    pub(crate) fn first_static<'py>(&self, py: Python<'py>) -> Option<(String, Bound<'py, PyAny>)> {
        self.statics(py).next()
    }

    /// All objects that are neither arrays nor containers, each with its path.
    pub(crate) fn statics<'a, 'py>(
        &'a self,
        py: Python<'py>,
    ) -> impl Iterator<Item = (String, Bound<'py, PyAny>)> + use<'a, 'py> {
        self.steps.iter().enumerate().filter_map(move |(i, step)| match step {
            Step::Static(object) => Some((self.path(py, i), object.bind(py).clone())),
            _ => None,
        })
    }

    /// The path to the array number `leaf`.
    pub(crate) fn leaf_path(&self, py: Python<'_>, leaf: usize) -> String {
        let mut places = self.steps.iter().enumerate().filter(|(_, s)| matches!(s, Step::Array));
        places.nth(leaf).map_or_else(String::new, |(i, _)| self.path(py, i))
    }

    /// The path to node `target`, such as `['layers'][2]['weight']`.
    fn path(&self, py: Python<'_>, target: usize) -> String {
        // The containers around the present node, and the number of their finished children.
        let mut open: Vec<(&Step, usize)> = Vec::new();
        for step in &self.steps[..target] {
            if step.len() > 0 {
                open.push((step, 0));
                continue;
            }
            while let Some((container, behind)) = open.last_mut() {
                *behind += 1;
                if *behind < container.len() {
                    break;
                }
                open.pop();
            }
        }
        open.iter().map(|(container, i)| container.segment(py, *i)).collect()
    }
}

impl Step {
    /// The children of `object` that correspond to this container's, or a message about a missing one. It may have more.
    fn some_children_in<'py>(
        &self,
        object: &Bound<'py, PyAny>,
    ) -> PyResult<Result<Vec<Bound<'py, PyAny>>, String>> {
        let py = object.py();
        if self.is_dict()
            && let Ok(dict) = object.cast::<PyDict>()
        {
            let mut children = Vec::with_capacity(self.len());
            for key in self.keys() {
                match dict.get_item(key)? {
                    Some(child) => children.push(child),
                    None => return Ok(Err(format!("has no entry {}", key.bind(py).repr()?))),
                }
            }
            return Ok(Ok(children));
        }
        if let Step::List(n) = self
            && let Ok(list) = object.cast::<PyList>()
            && list.len() >= *n
        {
            return Ok(Ok(list.iter().take(*n).collect()));
        }
        let wrong = || {
            format!(
                "must be {} as in the gradients, but {} was received; give both the same structure",
                self.describe(py),
                a_thing(object)
            )
        };
        Ok(self.children_in(object)?.ok_or_else(wrong))
    }

    /// The children of `object` in the order of this container's, or `None` if `object` is of another kind.
    fn children_in<'py>(&self, object: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let py = object.py();
        if let Step::Custom(c) = self
            && matches!(c.kind, Kind::Dataclass)
        {
            if !object.get_type().is(c.template.bind(py).get_type()) {
                return Ok(None);
            }
            let field = |name: &Py<PyAny>| object.getattr(name.bind(py).cast::<PyString>()?);
            return c.keys.iter().map(field).collect::<PyResult<_>>().map(Some);
        }
        if self.is_dict() {
            let Ok(dict) = object.cast::<PyDict>() else { return Ok(None) };
            if dict.len() != self.len() {
                return Ok(None);
            }
            return self.keys().iter().map(|key| dict.get_item(key)).collect();
        }
        let children: Vec<_> = if let Ok(list) = object.cast::<PyList>() {
            list.iter().collect()
        } else if let Ok(tuple) = object.cast::<PyTuple>() {
            tuple.iter().collect()
        } else {
            return Ok(None);
        };
        Ok((children.len() == self.len()).then_some(children))
    }
}

impl Custom {
    fn build<'py>(
        &self,
        py: Python<'py>,
        children: &mut dyn ExactSizeIterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static OBJECT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let template = self.template.bind(py);
        match self.kind {
            Kind::Tuple => {
                let items = PyTuple::new(py, children)?;
                py.get_type::<PyTuple>().call_method1("__new__", (template, items))
            }
            Kind::List => {
                let object = copy(template)?;
                let list = object.cast::<PyList>()?;
                for (i, child) in children.enumerate() {
                    list.set_item(i, child)?;
                }
                Ok(object)
            }
            Kind::Dict => {
                let object = copy(template)?;
                let Ok(dict) = object.cast::<PyDict>() else {
                    return Err(PyTypeError::new_err(format!(
                        "[tree] copying a dict of type {} gave {}; its __copy__ must return the same type",
                        template.get_type().name()?,
                        a_thing(&object)
                    )));
                };
                for (key, child) in self.keys.iter().zip(children) {
                    dict.set_item(key, child)?;
                }
                Ok(object)
            }
            Kind::Dataclass => {
                // This works for frozen classes and for classes with slots.
                let set = OBJECT.import(py, "builtins", "object")?.getattr("__setattr__")?;
                let object = copy(template)?;
                for (name, child) in self.keys.iter().zip(children) {
                    set.call1((&object, name, child))?;
                }
                Ok(object)
            }
        }
    }
}
