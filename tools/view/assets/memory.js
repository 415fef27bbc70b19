'use strict';

// The arena over the steps of the plan: a box per buffer, and the same as a table.

const MAP_HEIGHT = 420;
const MAP_LEFT = 76;
const SVG = 'http://www.w3.org/2000/svg';

function svgElement(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Address -> height. "even" gives small buffers room beside large ones: every stretch between two
// boundaries grows with the fourth root of its bytes. Order and overlap stay as they are.
function addressScale(buffers, arena, even) {
  if (!even) return (address) => (address / arena) * MAP_HEIGHT;
  const edges = [...new Set([0, arena, ...buffers.flatMap((b) => [b[2], b[2] + b[3]])])].sort(
      (a, b) => a - b);
  const places = new Map([[0, 0]]);
  let place = 0;
  for (let i = 1; i < edges.length; ++i) {
    place += (edges[i] - edges[i - 1]) ** 0.25;
    places.set(edges[i], place);
  }
  return (address) => (places.get(address) / place) * MAP_HEIGHT;
}

// Steps first..last of a layer, from the steps themselves.
function stepRange(steps, layer) {
  const of = steps.flatMap((step, index) => (step[3] === layer ? [index] : []));
  return [of[0], of[of.length - 1]];
}

function buildMemory(root, page, onChoose) {
  const {memory, steps} = page;
  const byLayer = [...new Set(steps.map((step) => step[3]))].filter((layer) => layer >= 0);
  const layers =
      el('select', {id: 'map-steps'}, el('option', {value: 'all'}, 'all'),
         ...byLayer.map((layer) => el('option', {value: layer}, `layer ${layer}`)));
  const scale =
      el('select', {id: 'map-scale'}, el('option', {value: 'even'}, 'small buffers enlarged'),
         el('option', {value: 'true'}, 'true to size'));
  const map = el('div', {class: 'map'});
  const readout =
      el('p', {class: 'readout mono', role: 'status'},
         'Point at a box, or walk through them with the arrow keys.');

  function describe([ref, , offset, bytes, first, last, type]) {
    return `${ref}  ${type}  ${withCommas(bytes)} bytes at +${withCommas(offset)}, ` +
        `steps ${first} to ${last}`;
  }

  function draw() {
    const [from, to] =
        layers.value === 'all' ? [0, steps.length - 1] : stepRange(steps, Number(layers.value));
    const shown = memory.buffers.filter((b) => b[5] >= from && b[4] <= to)
                      .sort((a, b) => a[4] - b[4] || a[2] - b[2]);
    const count = to - from + 1;
    const room = Math.max(root.clientWidth - MAP_LEFT - 40, 320);
    const width = Math.max(room / count, 6);
    const y = addressScale(shown, memory.arena, scale.value === 'even');
    const svg = svgElement('svg', {
      width: MAP_LEFT + width * count + 8,
      height: MAP_HEIGHT + 40,
      role: 'group',
      'aria-label': `Arena of ${withCommas(memory.arena)} bytes over ${count} steps; ` +
          'the table below says the same',
    });
    axes(svg, {from, count, width, y, shown});
    const boxes = shown.map((buffer, index) => box(svg, buffer, index, {from, to, width, y}));
    walk(svg, boxes, shown);
    map.replaceChildren(svg);
  }

  function box(svg, buffer, index, {from, to, width, y}) {
    const [ref, , offset, bytes, first, last] = buffer;
    const left = MAP_LEFT + (Math.max(first, from) - from) * width;
    const wide = (Math.min(last, to) - Math.max(first, from) + 1) * width;
    const top = 8 + y(offset);
    const high = Math.max(y(offset + bytes) - y(offset), 2);
    const layer = /^%"?(\d+)\./.exec(ref);
    const rect = svgElement('rect', {
      x: left + 0.5,
      y: top,
      width: Math.max(wide - 1, 1),
      height: Math.max(high - 1, 1.5),
      tabindex: index === 0 ? 0 : -1,
      role: 'button',
      'aria-label': describe(buffer),
      class: layer && Number(layer[1]) % 2 === 1 ? 'other' : '',
    });
    svg.append(rect);
    const letters = Math.floor((wide - 6) / 6.1);
    if (letters >= 4 && high >= 12) {
      const text = ref.length <= letters ? ref : ref.slice(0, letters - 1) + '…';
      svg.append(svgElement('text', {x: left + 4, y: top + high / 2 + 3.5}, text));
    }
    return rect;
  }

  function axes(svg, {from, count, width, y, shown}) {
    let last = -20;
    const edges = [...new Set([0, ...shown.map((b) => b[2]), memory.arena])].sort((a, b) => a - b);
    for (const edge of edges) {
      if (y(edge) - last < 16) continue;
      last = y(edge);
      svg.append(svgElement(
          'text', {
            class: 'axis',
            x: MAP_LEFT - 6,
            y: last + 11,
            'text-anchor': 'end',
          },
          edge === 0 ? '0' : bytesText(edge, 2)));
    }
    const every = Math.max(1, 5 * Math.ceil(48 / width / 5));
    for (let step = 0; step < count; step += every) {
      svg.append(svgElement(
          'text', {
            class: 'axis',
            x: MAP_LEFT + step * width + 1,
            y: MAP_HEIGHT + 22,
          },
          String(from + step)));
    }
    svg.append(svgElement('text', {class: 'axis', x: MAP_LEFT, y: MAP_HEIGHT + 36}, 'step'));
  }

  function walk(svg, boxes, shown) {
    const at = (event) => boxes.indexOf(event.target);
    const say = (event) => {
      if (at(event) >= 0) readout.textContent = describe(shown[at(event)]);
    };
    svg.addEventListener('pointerover', say);
    svg.addEventListener('focusin', say);
    svg.addEventListener('click', (event) => {
      if (at(event) >= 0) onChoose(shown[at(event)][0]);
    });
    svg.addEventListener('keydown', (event) => {
      const index = at(event);
      const moves = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
      if (index < 0) return;
      if (event.key === 'Enter') onChoose(shown[index][0]);
      const next = boxes[index + (moves[event.key] || 0)];
      if (!moves[event.key] || !next) return;
      boxes[index].setAttribute('tabindex', -1);
      next.setAttribute('tabindex', 0);
      next.focus();
      event.preventDefault();
    });
  }

  layers.addEventListener('change', draw);
  scale.addEventListener('change', draw);
  const total = memory.weights + memory.kv + memory.activations;
  root.append(
      pairs([
        ['weights', bytesText(memory.weights)], ['kv caches', bytesText(memory.kv)],
        [
          'activations',
          `${bytesText(memory.activations)}, of which ${bytesText(memory.arena)} arena`
        ],
        ['total', bytesText(total)]
      ]),
      el('div', {class: 'toolbar'}, el('label', {}, 'Steps ', layers),
         el('label', {}, 'Addresses ', scale)),
      map, readout,
      sortableTable(
          'Buffers of the arena',
          [
            {name: 'buffer', key: (b) => b[0], cell: (b) => refLink(b[0], onChoose)},
            {name: 'type', key: (b) => b[6]},
            {name: 'offset', number: true, key: (b) => b[2], cell: (b) => withCommas(b[2])},
            {name: 'bytes', number: true, key: (b) => b[3], cell: (b) => withCommas(b[3])},
            {name: 'first step', number: true, key: (b) => b[4]},
            {name: 'last step', number: true, key: (b) => b[5]},
          ],
          memory.buffers));
  draw();
}
