"""The style sheet of a store's report: paper, ink, one grey, light and dark."""

STYLE = """
:root { --paper: #fff; --ink: #181b21; --grey: #646a73; --line: #d9dbdf; --wash: #f3f4f5;
  --bar: #4a5563; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --ink: #e8eaed; --grey: #9aa0a9; --line: #383c44; --wash: #22252b; --bar: #aab3bf; }
}
body { margin: 0 auto; max-width: 1240px; padding: 24px 32px 64px; background: var(--paper); color: var(--ink);
  font: 14px/20px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans",
    "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 24px; line-height: 32px; margin: 0; }
h2 { font-size: 20px; line-height: 28px; margin: 48px 0 0; padding-top: 16px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; line-height: 24px; margin: 32px 0 8px; }
h4 { font-size: 14px; line-height: 20px; margin: 16px 0 4px; font-weight: 600; }
p { margin: 4px 0; max-width: 90ch; }
a { color: inherit; }
.grey, .name, caption, figcaption, summary { color: var(--grey); }
nav ul { margin: 16px 0 0; padding: 0; list-style: none; columns: 320px; }
ol.photos { display: flex; flex-wrap: wrap; gap: 16px 12px; margin: 8px 0; padding: 0; list-style: none; }
ol.photos li { width: 120px; display: flex; flex-direction: column; gap: 4px; font-size: 12px; line-height: 16px; }
ol.photos img { width: 120px; height: 120px; object-fit: contain; object-position: left top; }
.name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.scroll { max-height: 400px; overflow: auto; margin: 8px 0; border: 1px solid var(--line); overflow-wrap: normal; }
table { border-collapse: collapse; font-size: 12px; line-height: 16px; }
caption { text-align: left; padding: 8px; }
th, td { padding: 4px 8px; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { position: sticky; top: 0; background: var(--wash); font-weight: 600; }
tbody th { color: var(--grey); }
tbody tr:nth-child(even) { background: var(--wash); }
summary { cursor: pointer; }
picture img { max-width: 100%; height: auto; }
figure { margin: 8px 0; }
figure:has(picture) img { max-height: 640px; width: auto; }
svg { width: 320px; max-width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--grey); }
.bars { fill: var(--bar); }
.axis { stroke: var(--line); fill: none; }
.bar { display: flex; align-items: center; gap: 8px; font-size: 12px; color: var(--grey); }
.bar img { image-rendering: pixelated; }
article { margin: 24px 0 40px; }
:focus-visible { outline: 2px solid var(--ink); outline-offset: 2px; }
@media print { .scroll { max-height: none; overflow: visible; } article { break-inside: avoid; } }
"""
