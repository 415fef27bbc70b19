'use strict';

// The details of one node, weight, cache or parameter.

// A line of IR whose references can be followed.
function lineOfIr(text, known, onChoose) {
  const line = el('pre');
  let at = 0;
  for (const match of text.matchAll(REFERENCE)) {
    line.append(text.slice(at, match.index));
    const ref = match[0];
    line.append(known.has(ref) ? refLink(ref, onChoose) : ref);
    at = match.index + ref.length;
  }
  line.append(text.slice(at));
  return line;
}

function refLink(ref, onChoose) {
  return el(
      'a', {
        href: '#' + encodeURIComponent(ref),
        onclick: (event) => {
          event.preventDefault();
          onChoose(ref);
        },
      },
      ref);
}

// page: the data with `graph` read, and the tables by value that dump.js makes.
function detailsPanel(page, onChoose) {
  const {byRef} = page.graph;
  const link = (ref) => (byRef.has(ref) ? refLink(ref, onChoose) : ref);
  const section = (title, ...content) => [el('h3', {}, title), ...content];
  const list = (items) =>
      el('div', {class: 'mono'}, ...items.map((item) => el('div', {}, ...item)));

  function weightPairs(value) {
    const weight = page.weightOf.get(value.id);
    if (!weight) return [];
    const [, , type, file, offset, bytes] = weight;
    const rows = [
      ['type', type],
      ['bytes', `${withCommas(bytes)}  (${bytesText(bytes)})`],
      ['offset', `${withCommas(offset)}  (0x${offset.toString(16)})`],
    ];
    if (page.files[file]) rows.push(['file', page.files[file][0]]);
    return rows;
  }

  function operand(value, name) {
    const weight = value.kind === 1 && page.weightOf.get(value.id);
    const place = weight ? `${bytesText(weight[5])} at ${withCommas(weight[4])}` : null;
    return [
      name,
      el('span', {}, link(value.ref), el('span', {class: 'quiet'}, ` ${value.type}`),
         place && el('div', {class: 'quiet'}, place))
    ];
  }

  function memoryOf(node) {
    return node.results.flatMap((value) => {
      const buffer = page.bufferOf.get(value.id);
      if (!buffer) return [];
      const [ref, , offset, bytes, first, last] = buffer;
      const view = ref === value.ref ? '' : `a view of ${ref}: `;
      return [
        [`${view}${bytesText(bytes)} at arena +${withCommas(offset)}, ` +
         `alive in steps ${first} to ${last}`]
      ];
    });
  }

  function stepsOf(node) {
    const kernels = new Map(page.kernels);
    const steps = [...new Set(node.results.flatMap((value) => page.stepsOf.get(value.id) || []))];
    return steps.flatMap(
        ([text, kernel]) =>
            [el('pre', {}, text),
             kernels.has(kernel) ? el('details', {}, el('summary', {}, `source of ${kernel}`),
                                      el('pre', {}, kernels.get(kernel))) :
                                   null,
    ]);
  }

  function statistics(value) {
    const stats = page.statsOf.get(value.id);
    if (!stats) return [];
    const [, shape, axes, elements, min, max, mean, rms, zeros, nans, infs] = stats;
    const sizes = shape.map((size, axis) => `${axes[axis] || 'axis'} ${size}`).join(' x ');
    const bad = (count) => (count ? el('span', {class: 'warn'}, `! ${withCommas(count)}`) : '0');
    return section(`Values of ${value.ref}`, pairs([
                     ['shape', sizes || 'scalar'],
                     ['elements', withCommas(elements)],
                     ['min', floatText(min)],
                     ['max', floatText(max)],
                     ['mean', floatText(mean)],
                     ['rms', floatText(rms)],
                     ['zeros', withCommas(zeros)],
                     ['NaN', bad(nans)],
                     ['Inf', bad(infs)],
                   ]));
  }

  function sourceOf(node) {
    if (!page.source) return [];
    if (!node.provenance.length) {
      return section('Source', el('div', {}, 'a node of the frontend\'s graph itself'));
    }
    const source = page.source;
    return section(
        `Source: ${plural(node.provenance.length, 'node')} of the frontend's graph`,
        ...node.provenance.map((ref) => el('pre', {}, source[ref] || ref)));
  }

  function ledgerOf(node) {
    const entries = page.ledgerOf.get(node.ref) || [];
    if (!entries.length) return [];
    return section(
        'Ledger',
        list(entries.map(
            ([pass, , , matched, reason]) =>
                [`${matched ? '✓ matched' : '✗ rejected'}  ${pass}: ${reason}`,
    ])));
  }

  function ofNode(node) {
    const inputs = node.operands.flatMap(
        (value, index) => (value ? [operand(value, node.operandNames[index])] : []));
    const users = [...new Set(node.results.flatMap((value) => value.users))];
    const returned = node.results.filter((value) => page.returns.has(value.id));
    const memory = memoryOf(node);
    const steps = stepsOf(node);
    return [
      el('div', {class: 'mono'}, el('span', {class: 'op'}, node.op),
         el('span', {class: 'quiet'}, node.layer < 0 ? '' : `  layer ${node.layer}`)),
      ...section('IR', lineOfIr(node.line, byRef, onChoose)),
      ...section('Formula', el('pre', {}, node.formula)),
      ...(node.attrs.length ? section('Attributes', pairs(node.attrs)) : []),
      ...section('Inputs', pairs(inputs)),
      ...section(
          'Users', list([
            ...users.map((user) => [link(user.ref), el('span', {class: 'quiet'}, `  ${user.op}`)]),
            ...returned.map((value) => [`returned as ${value.ref}`]),
          ])),
      ...sourceOf(node),
      ...(steps.length ? section('Step of the plan', ...steps.filter(Boolean)) : []),
      ...(memory.length ? section('Memory', list(memory)) : []),
      ...node.results.flatMap(statistics),
      ...ledgerOf(node),
    ];
  }

  function ofValue(value) {
    return [
      el('div', {class: 'mono'}, `${VALUE_KINDS[value.kind]}  `,
         el('span', {class: 'quiet'}, value.type)),
      ...(page.weightOf.has(value.id) ? section('In the file', pairs(weightPairs(value))) : []),
      ...section(
          'Users',
          list(value.users.map(
              (user) =>
                  [link(user.ref),
                   el('span', {class: 'quiet'}, `  ${user.op}`),
    ]))),
      ...statistics(value),
    ];
  }

  return (value) => (value.producer ? ofNode(value.producer) : ofValue(value));
}
