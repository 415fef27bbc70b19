'use strict';

// The data block of the page, and a graph in a form that is quick to walk.

function readData() {
  return JSON.parse(document.getElementById('data').textContent);
}

const VALUE_KINDS = ['parameter', 'weight', 'cache', 'result'];

// References in a line of IR: %name, @name, with the name quoted where it holds other characters.
const REFERENCE = /[%@](?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9._\/-]+)/g;

// { values: [{ref, type, kind, producer, users}], nodes: [...], byRef }; see graph_data.h.
function readGraph(graph) {
  const values = graph.values.map(([ref, type, kind], id) => ({
                                    id,
                                    ref,
                                    kind,
                                    type: graph.types[type],
                                    producer: null,
                                    users: [],
                                  }));
  const nodes = graph.nodes.map(([op, operands, results, attrs, layer, provenance], index) => ({
                                  index,
                                  op: graph.ops[op][0],
                                  formula: graph.ops[op][1],
                                  operandNames: graph.ops[op][2],
                                  operands: operands.map((id) => (id < 0 ? null : values[id])),
                                  results: results.map((id) => values[id]),
                                  attrs: graph.attrs[attrs],
                                  layer,
                                  provenance,
                                  line: graph.lines[index],
                                  ref: values[results[0]].ref,
                                }));
  for (const node of nodes) {
    for (const value of node.results) value.producer = node;
    for (const value of new Set(node.operands)) {
      if (value) value.users.push(node);
    }
  }
  return {values, nodes, byRef: new Map(values.map((value) => [value.ref, value]))};
}

// Consecutive items of one layer: [{layer, items}].
function byLayer(items, layerOf) {
  const sections = [];
  for (const item of items) {
    const layer = layerOf(item);
    const last = sections[sections.length - 1];
    if (last && last.layer === layer)
      last.items.push(item);
    else
      sections.push({layer, items: [item]});
  }
  return sections;
}

// What stands in a layer, without its number: equal for layers that compute the same from the same
// types. What comes from elsewhere counts by its type alone.
function layerShape(nodes, layer) {
  const own = new RegExp(`^%"?${layer}\\.|^@"?blk\\.${layer}\\.`);
  const place = new Map();
  const name = (value) => {
    if (!value) return '-';
    if (own.test(value.ref)) return value.ref.replace(own, '') + ':' + value.type;
    if (!place.has(value)) place.set(value, place.size);
    return value.kind === 3 ? `in${place.get(value)}:${value.type}` : value.ref;
  };
  return nodes
      .map(
          (node) => [node.op,
                     node.results.map(name).join(),
                     node.operands.map(name).join(),
                     node.attrs.join(';'),
  ].join('|'))
      .join('\n');
}
