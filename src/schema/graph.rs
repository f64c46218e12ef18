//! Which subschema is applied where: the part of a schema that decides what validating with it may cost.
//!
//! A node is a subschema, an edge says that validating a value with one subschema validates the same value, or a
//! child of it, with another. References are resolved by the validator's own resolver, so that both see the same
//! schema. The graph errs on the large side: it knows no drafts (a keyword counts even where a draft ignores it)
//! and takes a `$dynamicRef` for any of its candidates. It never judges: `cost` does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jsonschema::{Draft, Registry, Retrieve, Uri};
use serde_json::{Map, Value};

/// The subschemas that the root reaches; the root is the first.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
}

/// One subschema, by index into [`Graph::nodes`] what it applies.
#[derive(Default)]
pub(super) struct Node {
    /// Where the subschema lies in memory; zero for a choice between candidates.
    pub(super) address: usize,
    /// The base URI it is in, numbered.
    pub(super) resource: usize,
    /// Applied to the same value: all of them, or one of them if `is_choice`.
    pub(super) same: Vec<usize>,
    /// Those of `same` that were reached by a reference.
    pub(super) references: Vec<usize>,
    /// The candidates of a `$dynamicRef`, of which one is applied.
    pub(super) is_choice: bool,
    /// Whether it asks what its other keywords have evaluated, which walks them again.
    pub(super) asks_again: bool,
    pub(super) members: Children,
    pub(super) elements: Children,
}

/// What a subschema applies to the children of an object or of an array.
#[derive(Default)]
pub(super) struct Children {
    /// Applied to every child.
    pub(super) every: Vec<usize>,
    /// At most one of these is applied to a given child.
    pub(super) one: Vec<usize>,
}

impl Node {
    /// Every node that this one applies to a child of the value.
    pub(super) fn children(&self) -> impl Iterator<Item = usize> {
        let Children { every: members, one: member } = &self.members;
        let Children { every: elements, one: element } = &self.elements;
        members.iter().chain(member).chain(elements).chain(element).copied()
    }
}

/// Refuses whatever a reference asks for: no schema reaches the network or the disk.
pub(super) struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{uri} is not part of the schema, and nothing is fetched").into())
    }
}

/// Builds the graph of `schema`.
///
/// A keyword of the wrong shape and a reference to nothing are passed over: compiling reports those.
pub(super) fn build(schema: &Value, draft: Draft) -> Result<Graph, jsonschema::ReferencingError> {
    let root = draft.create_resource_ref(schema);
    let base = jsonschema::uri::from_str(root.id().unwrap_or("json-schema:///"))?;
    let registry = Registry::new().retriever(Nowhere).draft(draft).add(base.as_str(), root)?.prepare()?;
    let root = Place { value: schema, base: registry.resolver(base).base_uri(), draft };
    let mut builder = Builder {
        registry: &registry,
        schema,
        anchors: HashMap::new(),
        graph: Graph::default(),
        known: HashMap::new(),
        resources: HashMap::new(),
        waiting: Vec::new(),
    };
    builder.collect_anchors(root.clone());
    builder.node(root);
    while let Some((index, place)) = builder.waiting.pop() {
        builder.expand(index, &place);
    }
    Ok(builder.graph)
}

/// A subschema in its surroundings.
#[derive(Clone)]
struct Place<'a> {
    value: &'a Value,
    base: Arc<Uri<String>>,
    draft: Draft,
}

struct Builder<'a> {
    registry: &'a Registry<'a>,
    schema: &'a Value,
    /// Every subschema with a `$dynamicAnchor`, by its name.
    anchors: HashMap<&'a str, Vec<Place<'a>>>,
    graph: Graph,
    known: HashMap<usize, usize>,
    resources: HashMap<Arc<Uri<String>>, usize>,
    waiting: Vec<(usize, Place<'a>)>,
}

impl<'a> Builder<'a> {
    /// The place as seen from inside, where its own `$schema` and `$id` count.
    fn inside(&self, mut place: Place<'a>) -> Place<'a> {
        place.draft = place.draft.detect(place.value);
        let resolver = self.registry.resolver((*place.base).clone());
        if let Ok(inner) = resolver.in_subresource(place.draft.create_resource_ref(place.value)) {
            place.base = inner.base_uri();
        }
        place
    }

    fn collect_anchors(&mut self, place: Place<'a>) {
        let mut waiting = vec![place];
        while let Some(place) = waiting.pop() {
            match place.value {
                Value::Object(members) => {
                    let place = self.inside(place);
                    waiting.extend(members.values().map(|value| Place { value, ..place.clone() }));
                    if let Some(name) = members.get("$dynamicAnchor").and_then(Value::as_str) {
                        self.anchors.entry(name).or_default().push(place);
                    }
                }
                Value::Array(values) => {
                    waiting.extend(values.iter().map(|value| Place { value, ..place.clone() }));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, place: Place<'a>) -> usize {
        let address = std::ptr::from_ref(place.value) as usize;
        let index = self.graph.nodes.len();
        match self.known.entry(address) {
            Entry::Occupied(entry) => return *entry.get(),
            Entry::Vacant(entry) => entry.insert(index),
        };
        let place = self.inside(place);
        let count = self.resources.len();
        let resource = *self.resources.entry(Arc::clone(&place.base)).or_insert(count);
        self.graph.nodes.push(Node { address, resource, ..Node::default() });
        self.waiting.push((index, place));
        index
    }

    fn expand(&mut self, index: usize, place: &Place<'a>) {
        let Value::Object(keywords) = place.value else { return };
        let mut node = Node::default();
        for (keyword, value) in keywords {
            let text = value.as_str();
            match keyword.as_str() {
                "$ref" => node.references.extend(text.and_then(|text| self.reference(place, text))),
                "$recursiveRef" => node.references.extend(self.recursive_reference(place)),
                "$dynamicRef" => {
                    node.references.extend(text.and_then(|text| self.dynamic_reference(place, text)));
                }
                "allOf" | "anyOf" | "oneOf" => self.list(place, value, &mut node.same),
                "not" | "if" | "then" | "else" => self.schema(place, value, &mut node.same),
                "dependentSchemas" | "dependencies" => self.map(place, value, &mut node.same),
                "properties" => self.map(place, value, &mut node.members.one),
                "additionalProperties" => self.schema(place, value, &mut node.members.one),
                "patternProperties" => self.map(place, value, &mut node.members.every),
                "propertyNames" => self.schema(place, value, &mut node.members.every),
                "items" if value.is_array() => self.list(place, value, &mut node.elements.one),
                "items" | "additionalItems" => self.schema(place, value, &mut node.elements.one),
                "prefixItems" => self.list(place, value, &mut node.elements.one),
                "contains" => self.schema(place, value, &mut node.elements.every),
                "unevaluatedProperties" => {
                    node.asks_again = true;
                    self.schema(place, value, &mut node.members.one);
                }
                "unevaluatedItems" => {
                    node.asks_again = true;
                    self.schema(place, value, &mut node.elements.one);
                }
                _ => {}
            }
        }
        node.same.extend_from_slice(&node.references);
        let known = &self.graph.nodes[index];
        (node.address, node.resource) = (known.address, known.resource);
        self.graph.nodes[index] = node;
    }

    fn schema(&mut self, from: &Place<'a>, value: &'a Value, into: &mut Vec<usize>) {
        if value.is_object() || value.is_boolean() {
            into.push(self.node(Place { value, ..from.clone() }));
        }
    }

    fn list(&mut self, from: &Place<'a>, values: &'a Value, into: &mut Vec<usize>) {
        for value in values.as_array().into_iter().flatten() {
            self.schema(from, value, into);
        }
    }

    fn map(&mut self, from: &Place<'a>, values: &'a Value, into: &mut Vec<usize>) {
        for value in values.as_object().into_iter().flat_map(Map::values) {
            self.schema(from, value, into);
        }
    }

    fn resolve(&self, from: &Place<'a>, reference: &str) -> Option<Place<'a>> {
        let resolved = self.registry.resolver((*from.base).clone()).lookup(reference).ok()?;
        let (value, resolver, draft) = resolved.into_inner();
        Some(Place { value, base: resolver.base_uri(), draft })
    }

    fn reference(&mut self, from: &Place<'a>, reference: &str) -> Option<usize> {
        let target = self.resolve(from, reference)?;
        Some(self.node(target))
    }

    /// The target in its own resource, or the document's root where that is what re-aims it.
    fn recursive_reference(&mut self, from: &Place<'a>) -> Option<usize> {
        let recurses = |value: &Value| value.get("$recursiveAnchor") == Some(&Value::Bool(true));
        let target = self.resolve(from, "#")?;
        if recurses(target.value) && recurses(self.schema) {
            return Some(0);
        }
        Some(self.node(target))
    }

    /// The target, or a choice where several anchors of its name could be meant.
    fn dynamic_reference(&mut self, from: &Place<'a>, reference: &str) -> Option<usize> {
        let target = self.resolve(from, reference)?;
        let name = target.value.get("$dynamicAnchor").and_then(Value::as_str);
        let is_anchor = name.is_some_and(|name| reference.ends_with(&format!("#{name}")));
        let candidates = name.filter(|_| is_anchor).and_then(|name| self.anchors.get(name)).cloned();
        let mut same = vec![self.node(target)];
        for candidate in candidates.into_iter().flatten() {
            let index = self.node(candidate);
            if !same.contains(&index) {
                same.push(index);
            }
        }
        if let [only] = same[..] {
            return Some(only);
        }
        let index = self.graph.nodes.len();
        let resource = self.graph.nodes[same[0]].resource;
        self.graph.nodes.push(Node { resource, same, is_choice: true, ..Node::default() });
        Some(index)
    }
}
