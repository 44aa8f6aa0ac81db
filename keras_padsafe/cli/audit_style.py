"""The style of the page of `audit`: light and dark, from a phone to a wide screen."""

STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --page: #fff; --card: #f6f8fa;
  --link: #0a58ca; --real: #bcdcf5; --masked: #e3e6ea; --stripe: #c3c9d0;
  --unmasked: #f6c667; --moved: #7b4fa0; --bad: #c0392b; --good: #1a7f37;
  --warn: #b07800; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af;
  --line: #3a424c; --page: #14181d; --card: #1d232a; --link: #7db4ff; --real: #2d5878;
  --masked: #2a3038; --stripe: #48515c; --unmasked: #c18f1d; --moved: #9c6fc4;
  --bad: #d9534a; --good: #2a8f47; --warn: #d29922; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; }
main { margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; } .soft { color: var(--soft); }
a { color: var(--link); }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; margin: .5rem 0; padding: .6rem .8rem; border-radius: .4rem;
  background: var(--card); border: 1px solid var(--line); }
.verdict { display: inline-block; margin: .8rem 0 0; padding: .15rem .7rem;
  border-radius: 1rem; font-weight: 600; color: #fff; background: var(--bad); }
.verdict.passed { background: var(--good); }
.finding { border: 1px solid var(--line); border-left: .4rem solid var(--bad);
  border-radius: .4rem; padding: .7rem 1rem; margin: .7rem 0; background: var(--card); }
.finding.warning { border-left-color: var(--warn); }
.finding.note { border-left-color: var(--soft); }
h3 { font-size: 1rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
.severity { color: var(--soft); font-size: .85rem; margin: 0 0 .2rem; }
.meaning { margin: 1.2rem 0; scroll-margin-top: 1rem; max-width: 46rem; }
.fix::before { content: "Fix: "; font-weight: 600; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th { text-align: left; font-weight: 600; }
th, td { padding: .2rem 1rem .2rem 0; vertical-align: top; }
td:first-child { min-width: 7rem; }
tbody tr { border-top: 1px solid var(--line); }
.picture th, .picture td { padding: 0; border: 0; }
.picture tbody tr { border: 0; }
.picture td:first-child { min-width: 0; }
.picture th { font: .82rem ui-monospace, monospace; padding-right: .8rem; }
.picture tbody th { min-width: 9rem; max-width: 26rem; overflow-wrap: anywhere;
  position: sticky; left: 0; background: var(--page); }
.picture thead th { padding: 0; text-align: center; color: var(--soft); }
.picture .kind { color: var(--soft); }
.picture tr.found th { text-decoration: underline; font-weight: 800; }
.cell { display: block; width: 1.5rem; height: 1.25rem; margin: 1px; text-align: center;
  border-radius: .15rem; font: 700 .85rem/1.25rem system-ui, sans-serif; }
.real { background: var(--real); }
.unmasked { background: var(--unmasked); color: #1b1f24; }
.masked { background: repeating-linear-gradient(45deg, var(--masked), var(--masked) 3px,
  var(--stripe) 3px, var(--stripe) 5px); }
.moved { background: var(--moved); color: #fff; }
.nonfinite { background: var(--bad); color: #fff; }
.whole { width: auto; padding: 0 .5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .6rem 0 0;
  padding: 0; list-style: none; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .4rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
@media (max-width: 34rem) { main { padding: 1.2rem .9rem 3rem; }
  .picture tbody th { min-width: 6.5rem; max-width: 8rem; } }
@media (min-width: 50rem) { td:first-child code { overflow-wrap: normal; } }
@media print { .scroll { overflow: visible; } }
"""
