'use strict';

// Elements, numbers, tables, tabs and the tree: what all pages share. Text from the data reaches
// the page as text nodes only.

function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null) continue;
    if (name.startsWith('on'))
      element.addEventListener(name.slice(2), value);
    else
      element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const withCommas = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',');

function bytesText(bytes, digits = 1) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let number = bytes;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(digits)} ${
      units[unit]}`;
}

const plural = (count, noun) => `${withCommas(count)} ${noun}${count === 1 ? '' : 's'}`;

function floatText(number) {
  if (number === null) return '-';
  const size = Math.abs(number);
  const rounded = Number(number.toPrecision(5));
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? rounded.toExponential() : String(rounded);
}

// [[name, text], ...] as a list of pairs.
function pairs(entries) {
  const list = el('dl', {class: 'pairs mono'});
  for (const [name, content] of entries) list.append(el('dt', {}, name), el('dd', {}, content));
  return list;
}

function showFacts(element, facts) {
  for (const [name, text] of facts.filter((fact) => fact[1])) {
    element.append(el('div', {}, el('dt', {}, name), el('dd', {}, text)));
  }
}

// columns: [{name, number, key(row), cell(row)}]. The buttons in its head sort it.
function sortableTable(caption, columns, rows) {
  const body = el('tbody');
  const heads = columns.map(
      (column, index) =>
          el('th', {
            scope: 'col',
            class: column.number ? 'number' : undefined,
          },
             el('button', {type: 'button', onclick: () => sort(index)}, column.name)));
  const fill = (sorted) => body.replaceChildren(...sorted.map(
      (row) =>
          el('tr', {},
             ...columns.map(
                 (column) =>
                     el('td', {class: column.number ? 'number' : undefined},
                        column.cell ? column.cell(row) : String(column.key(row)))))));
  function sort(index) {
    const ascending = heads[index].getAttribute('aria-sort') !== 'ascending';
    const key = columns[index].key;
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const sorted = [...rows].sort((a, b) => order(key(a), key(b)) * (ascending ? 1 : -1));
    heads.forEach((head) => head.removeAttribute('aria-sort'));
    heads[index].setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
    fill(sorted);
  }
  fill(rows);
  return el(
      'div', {class: 'table-box'},
      el('table', {}, el('caption', {}, caption), el('thead', {}, el('tr', {}, ...heads)), body));
}

// Buttons in `list` for the panels; each is built when it is shown first. Returns show(name).
function tabs(list, panels) {
  const built = new Set();
  const buttons = panels.map(({name, panel}) => {
    panel.setAttribute('aria-labelledby', `tab-${name}`);
    return el(
        'button', {
          type: 'button',
          role: 'tab',
          id: `tab-${name}`,
          'aria-controls': panel.id,
          onclick: () => show(name),
        },
        name);
  });
  function show(name) {
    panels.forEach(({name: other, panel, build}, index) => {
      const shown = other === name;
      buttons[index].setAttribute('aria-selected', String(shown));
      buttons[index].tabIndex = shown ? 0 : -1;
      panel.hidden = !shown;
      if (shown && !built.has(name)) {
        built.add(name);
        build(panel);
      }
    });
  }
  list.append(...buttons);
  list.addEventListener('keydown', (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const at = buttons.findIndex((button) => button.tabIndex === 0);
    const next = (at + step + buttons.length) % buttons.length;
    show(panels[next].name);
    buttons[next].focus();
    event.preventDefault();
  });
  show(panels[0].name);
  return show;
}

// Arrow keys in a tree whose items are sections and their nodes, one of which is in the tab order.
// `toggle(item, open)` opens or closes a section, `choose(item)` is Enter and click.
function treeKeys(tree, {toggle, choose}) {
  const sectionOf = (item) => item.parentElement.closest('[role="treeitem"]');
  const isSection = (item) => item.hasAttribute('aria-expanded');
  const isOpen = (item) => item.getAttribute('aria-expanded') === 'true';
  // Without asking for the layout, which the browser leaves out for what is off the screen.
  const shown = () => [...tree.children].flatMap(
      (section) =>
          (section.hidden ?
               [] :
               !isOpen(section) ?
               [section] :
               [section, ...section.querySelectorAll('[role="treeitem"]:not([hidden])')]));

  function focus(item) {
    if (!item) return;
    const before = tree.querySelector('[role="treeitem"][tabindex="0"]');
    if (before) before.tabIndex = -1;
    item.tabIndex = 0;
    item.focus({preventScroll: true});
    (isSection(item) ? item.firstElementChild : item).scrollIntoView({block: 'nearest'});
  }

  function sideways(item, open) {
    if (isSection(item) && isOpen(item) !== open)
      toggle(item, open);
    else if (open)
      focus(item.querySelector('[role="treeitem"]'));
    else
      focus(sectionOf(item));
  }

  tree.addEventListener('keydown', (event) => {
    const item = event.target.closest('[role="treeitem"]');
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const items = shown();
    const at = items.indexOf(item);
    const moves = {
      ArrowDown: () => focus(items[at + 1]),
      ArrowUp: () => focus(items[at - 1]),
      Home: () => focus(items[0]),
      End: () => focus(items[items.length - 1]),
      ArrowRight: () => sideways(item, true),
      ArrowLeft: () => sideways(item, false),
      Enter: () => choose(item),
      ' ': () => choose(item),
    };
    if (!moves[event.key]) return;
    moves[event.key]();
    event.preventDefault();
  });
  tree.addEventListener('click', (event) => {
    const item = event.target.closest('[role="treeitem"]');
    if (!item || event.target.closest('button, a')) return;
    if (isSection(item) && !event.target.closest('.head')) return;
    focus(item);
    choose(item);
  });
  return {focus, shown};
}
