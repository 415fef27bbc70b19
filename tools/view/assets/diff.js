'use strict';

// The page of two graphs: groups of equal changes at the left; at the right, by layer, the nodes
// that compute the same beside each other. Rows are made when a layer is opened.

const page = readData();
page.a.graph = readGraph(page.a.graph);
page.b.graph = readGraph(page.b.graph);
const kindOf = (change) => {
  const [word, sign, look] = page.kinds[change[0]];
  return {word, sign, look};
};
const errorOf = new Map(page.errors.map((error) => [error[0], error]));
const timeOf = new Map(page.times.map((time) => [time[0], time]));
const changesOf = new Map();
const groupOf = new Map();
page.changes.forEach((change) => {
  if (change[2] < 0) return;
  if (!changesOf.has(change[2])) changesOf.set(change[2], []);
  changesOf.get(change[2]).push(change);
});
page.groups.forEach(
    (group, index) => group[3].forEach((change) => groupOf.set(page.changes[change], index)));

const byId = (id) => document.getElementById(id);
const tree = byId('tree');
const state = {
  group: null
};

// Rows: { match, changes, a: [node], b: [node], layer }, or { changes, layer } of a change that
// concerns no node.

function makeRows() {
  return page.order.map((match) => {
    const [a, b] = page.matches[match];
    const row = {
      match,
      changes: changesOf.get(match) || [],
      a: a.map((index) => page.a.graph.nodes[index]),
      b: b.map((index) => page.b.graph.nodes[index]),
    };
    row.layer = (row.b[0] || row.a[0]).layer;
    return row;
  });
}

const hasFigures = page.errors.length + page.times.length > 0;
byId('list').classList.toggle('with-figures', hasFigures);
const isFirst = (row) => Boolean(errorOf.get(row.match)) && errorOf.get(row.match)[5];
const counts = (row) => row.changes.length > 0 || isFirst(row);

// Lines

const TOKEN = /[%@](?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9._\/-]+)|[A-Za-z0-9_.+-]+|\s+|./gs;

// Without its provenance, which the other side shows.
function lineOf(node) {
  const from = ` from(${node.provenance.join(', ')})`;
  return node.line.endsWith(from) ? node.line.slice(0, -from.length) : node.line;
}

// Beyond this product of lengths two lines are shown without their difference.
const LONGEST_COMPARED = 250000;

// Which tokens of a and b are no part of their longest common subsequence.
function tokenDifference(a, b) {
  if (a.length * b.length > LONGEST_COMPARED) return {a: new Set(), b: new Set()};
  const length = Array.from({length: a.length + 1}, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; --i) {
    for (let j = b.length - 1; j >= 0; --j) {
      length[i][j] =
          a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const only = {a: new Set(), b: new Set()};
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i += 1;
      j += 1;
    } else if (j === b.length || (i < a.length && length[i + 1][j] >= length[i][j + 1])) {
      only.a.add(i++);
    } else {
      only.b.add(j++);
    }
  }
  return only;
}

function markedLine(tokens, only, tag) {
  const line = el('div', {class: 'line'});
  let plain = '';
  let marked = '';
  const flush = () => {
    if (plain) line.append(plain);
    if (marked) line.append(el(tag, {}, marked));
    plain = marked = '';
  };
  tokens.forEach((token, index) => {
    if (only.has(index) ? plain : marked) flush();
    if (only.has(index))
      marked += token;
    else
      plain += token;
  });
  flush();
  return line;
}

function cells(row) {
  const plain = (nodes) => nodes.map((node) => el('div', {class: 'line'}, lineOf(node)));
  if (row.a.length === 1 && row.b.length === 1 && row.changes.length) {
    const a = lineOf(row.a[0]).match(TOKEN);
    const b = lineOf(row.b[0]).match(TOKEN);
    const only = tokenDifference(a, b);
    return [[markedLine(a, only.a, 'del')], [markedLine(b, only.b, 'ins')]];
  }
  return [plain(row.a), plain(row.b)];
}

// A change that concerns no node has no line of its own.
function declared([, subject, , aName, bName, , , before, after]) {
  const side = (name, text) =>
      (name ? [el('div', {class: 'line'}, `${page.subjects[subject]} ${name}: ${text}`)] : []);
  return [side(aName, before), side(bName, after)];
}

// Elements

const arrow = (before, after) => (before && after ? `${before} → ${after}` : before || after);

function changeText(change) {
  const [, , match, , , , what, before, after] = change;
  const values = match < 0 ? '' : `  ${arrow(before, after)}`;
  return `${kindOf(change).word}${what ? ` ${what}` : ''}${values}`;
}

function errorText([, maximum, rms, cosine, worst, first]) {
  const parts = [
    `max ${floatText(maximum)}`, `relative RMS ${floatText(rms)}`, `cosine ${floatText(cosine)}`
  ];
  return `${first ? '! first error that its inputs do not explain: ' : 'values: '}` +
      `${parts.join(', ')}${worst ? `; worst at ${worst}` : ''}`;
}

function notesOf(row) {
  // What stands on one side only needs no words beside its sign.
  const told = row.changes.filter(([, , , aName, bName]) => aName && bName);
  const notes = told.map((change) => el('li', {}, changeText(change)));
  const error = errorOf.get(row.match);
  const time = timeOf.get(row.match);
  if (error && (row.changes.length || error[5])) {
    notes.push(el('li', {class: error[5] ? 'warn' : 'quiet'}, errorText(error)));
  }
  if (time && row.changes.length) {
    notes.push(
        el('li', {class: 'quiet'}, `time: ${floatText(time[1])} → ${floatText(time[2])} µs`));
  }
  return notes.length ? el('ul', {class: 'notes'}, ...notes) : null;
}

function figures(row) {
  if (!hasFigures) return null;
  const error = errorOf.get(row.match);
  const time = timeOf.get(row.match);
  const of = [
    error ? floatText(error[2]) : '', time ? `${floatText(time[1])} → ${floatText(time[2])} µs` : ''
  ];
  return el('div', {class: 'figures quiet'}, of.filter(Boolean).join('  '));
}

function rowElement(row) {
  const first = row.changes[0] && kindOf(row.changes[0]);
  const signs = [...new Set(row.changes.map((change) => kindOf(change).sign))];
  const words = [...new Set(row.changes.map((change) => kindOf(change).word))].join(', ');
  const look = first ? `kind-${first.look}` : counts(row) ? '' : 'same';
  const [a, b] = row.match === undefined ? declared(row.changes[0]) : cells(row);
  return el(
      'div', {
        class: `pair ${look}`,
        role: 'treeitem',
        tabindex: -1,
      },
      el('div', {class: isFirst(row) ? 'sign warn' : 'sign'},
         el('span', {'aria-hidden': true}, isFirst(row) ? '!' : signs[0] || ''),
         el('span', {class: 'visually-hidden'}, words || 'unchanged')),
      el('div', {class: 'side-a'}, ...a), el('div', {class: 'side-b'}, ...b), figures(row),
      notesOf(row));
}

// Sections

function makeSection(name, rows, layer) {
  const changed = rows.filter(counts);
  const tally = new Map();
  for (const change of rows.flatMap((row) => row.changes)) {
    const {sign, look} = kindOf(change);
    tally.set(sign, {look, count: (tally.get(sign) ? tally.get(sign).count : 0) + 1});
  }
  const id = `section-${tree.childElementCount}`;
  const head = el(
      'div', {class: 'head', id}, el('span', {class: 'name'}, name),
      el('span', {class: changed.length ? '' : 'quiet'},
         changed.length ? `${plural(changed.length, 'change')} in ${plural(rows.length, 'row')}` :
                          'unchanged'),
      el('span', {class: 'far'},
         ...[...tally].flatMap(
             ([sign, {look, count}]) =>
                 [el('span', {class: `kind-${look}`},
                     el('span', {class: 'sign'}, `${sign}${count}`)),
                  ' ',
  ])));
  const group = el('div', {role: 'group'});
  group.hidden = true;
  const element =
      el('div', {
        class: 'section',
        role: 'treeitem',
        tabindex: -1,
        'aria-expanded': false,
        'aria-labelledby': id
      },
         head, group);
  tree.append(element);
  return {element, group, rows, changed, layer, open: false, made: null};
}

function makeSections(rows) {
  const apart = page.changes.filter((change) => change[2] < 0)
                    .map((change) => ({changes: [change], layer: -1, a: [], b: []}));
  const sections = apart.length ? [makeSection('declared', apart, -1)] : [];
  const grouped = byLayer(rows, (row) => row.layer);
  let layers = 0;
  for (const {layer, items} of grouped) {
    const name = layer >= 0 ? `layer ${layer}` :
        grouped.length === 1 ? 'nodes' :
        layers               ? 'output' :
                               'embedding';
    if (layer >= 0) layers += 1;
    sections.push(makeSection(name, items, layer));
  }
  return sections;
}

const sections = makeSections(makeRows());
const sectionOf = new Map(sections.map((section) => [section.element, section]));
const rowOf = new Map();
const stops = sections.flatMap((section) => section.changed.map((row) => ({section, row})));

function setOpen(section, open) {
  section.open = open;
  section.element.setAttribute('aria-expanded', String(open));
  section.group.hidden = !open;
  if (open) fill(section);
}

// Unchanged rows in between become one line that shows them all.
function fill(section) {
  if (!section.made) {
    section.made = new Map(section.rows.map((row) => [row, rowElement(row)]));
    for (const [row, element] of section.made) rowOf.set(element, row);
  }
  const content = [];
  let skipped = 0;
  const gap = () => {
    if (skipped) {
      content.push(
          el('button', {type: 'button', class: 'gap', onclick: () => showUnchanged(true)},
             `… ${plural(skipped, 'unchanged row')}`));
    }
    skipped = 0;
  };
  for (const [row, element] of section.made) {
    element.classList.toggle('member', isMember(row));
    if (!counts(row) && !byId('unchanged').checked) {
      skipped += 1;
      continue;
    }
    gap();
    content.push(element);
  }
  gap();
  const focused = document.activeElement;
  section.group.replaceChildren(...content);
  if (section.group.contains(focused)) focused.focus({preventScroll: true});
}

function showUnchanged(shown) {
  byId('unchanged').checked = shown;
  sections.filter((section) => section.open).forEach(fill);
  enterAt();
}

// The Tab key must reach the tree wherever it was before.
function enterAt() {
  const before = tree.querySelector('[role="treeitem"][tabindex="0"]');
  if (!before && tree.firstElementChild) tree.firstElementChild.tabIndex = 0;
}

// Groups and the way from change to change

const isMember = (row) =>
    state.group !== null && row.changes.some((change) => groupOf.get(change) === state.group);

function markGroup(index) {
  state.group = index;
  [...byId('groups').children].forEach((item, at) => {
    item.firstChild.setAttribute('aria-current', String(at === index));
  });
  sections.filter((section) => section.open).forEach(fill);
}

function goTo(stop) {
  if (!stop.section.open) setOpen(stop.section, true);
  keys.focus(stop.section.made.get(stop.row));
  byId('status').textContent = `change ${stops.indexOf(stop) + 1} of ${stops.length}`;
}

function step(by) {
  if (!stops.length) return;
  const focused = document.activeElement.closest('[role="treeitem"]');
  const row = focused && rowOf.get(focused);
  let at = stops.findIndex((stop) => stop.row === row);
  if (at < 0 && focused && sectionOf.has(focused)) {
    const place = sections.indexOf(sectionOf.get(focused));
    const next = stops.findIndex((stop) => sections.indexOf(stop.section) >= place);
    at = by > 0 ? (next < 0 ? stops.length : next) - 1 : next < 0 ? stops.length : next;
  } else if (at < 0) {
    at = by > 0 ? -1 : stops.length;
  }
  goTo(stops[Math.min(Math.max(at + by, 0), stops.length - 1)]);
}

function groupButton(group, index) {
  const [kind, subject, layers, changes, role, what, before, after] = group;
  const [word, sign, look] = page.kinds[kind];
  const about = page.subjects[subject] === 'node' ? '' : `${page.subjects[subject]} `;
  return el(
      'li', {},
      el('button', {
        type: 'button',
        class: `kind-${look}`,
        'aria-current': false,
        onclick: () => {
          markGroup(index);
          const stop = stops.find(({row}) => isMember(row));
          if (stop) goTo(stop);
        },
      },
         el('span', {class: 'sign'}, sign),
         el('span', {}, el('span', {class: 'mono'}, role),
            ` ${about}${word}${what ? ` ${what}` : ''}`,
            el('div', {class: 'mono'}, arrow(before, after)),
            el('div', {class: 'quiet'},
               `${layers}${changes.length > 1 ? `, ${changes.length} times` : ''}`))));
}

const keys = treeKeys(tree, {
  toggle: (item, open) => setOpen(sectionOf.get(item), open),
  choose: (item) => {
    const section = sectionOf.get(item);
    if (section)
      setOpen(section, !section.open);
    else if (rowOf.get(item).changes.length)
      markGroup(groupOf.get(rowOf.get(item).changes[0]));
  },
});

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    n: () => step(1),
    p: () => step(-1),
    u: () => showUnchanged(!byId('unchanged').checked),
    Escape: () => markGroup(null),
  };
  if (!actions[event.key]) return;
  actions[event.key]();
  event.preventDefault();
});

// Start

byId('title').append(page.a.title, el('span', {class: 'quiet'}, '  against  '), page.b.title);
byId('head-a').textContent = page.a.title;
byId('head-b').textContent = page.b.title;
byId('head-figures').textContent = [
  page.errors.length ? 'relative RMS' : '', page.times.length ? 'time' : ''
].filter(Boolean).join('  ');
showFacts(byId('facts'), [
  [
    'nodes',
    `${withCommas(page.a.graph.nodes.length)} against ${withCommas(page.b.graph.nodes.length)}`
  ],
  [
    'result',
    page.changes.length ?
        `${plural(page.changes.length, 'change')} in ${plural(page.groups.length, 'group')}` :
        'equal'
  ],
  ...page.facts,
  ['by', page.producer],
]);
byId('groups').append(...page.groups.map(groupButton));
const explained = new Map([
  ['added', 'only at the right'], ['removed', 'only at the left'], ['fused', 'several became one'],
  ['split', 'one became several'], ['rewritten', 'several became several'],
  ['renamed', 'only its name differs'], ['order', 'at another place']
]);
for (const [word, sign, look] of page.kinds) {
  if (!explained.has(word) && sign !== '~') continue;
  if (sign === '~' && byId('signs').dataset.changed) continue;
  if (sign === '~') byId('signs').dataset.changed = 'yes';
  byId('signs').append(
      el('dt', {class: `kind-${look}`}, el('span', {class: 'sign'}, sign)),
      el('dd', {}, explained.get(word) || 'changed'));
}
byId('unchanged').addEventListener('change', () => showUnchanged(byId('unchanged').checked));
byId('next').addEventListener('click', () => step(1));
byId('previous').addEventListener('click', () => step(-1));
byId('open-all')
    .addEventListener('click', () => sections.forEach((section) => setOpen(section, true)));
byId('close-all')
    .addEventListener('click', () => sections.forEach((section) => setOpen(section, false)));
if (!page.changes.length) byId('status').textContent = 'Nothing differs.';
if (stops.length) setOpen(stops[0].section, true);
enterAt();
