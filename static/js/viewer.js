// Deposited model (coral), refined model (teal) and boxed map, drawn by NGL. Loaded when asked for.

import { current, followAddress, onSelect, select } from "./selection.js";

const COLOURS = { initial: "#e8735a", refined: "#0f8b8d" };
const NAMES = { initial: "deposited model", refined: "refined model", map: "map" };
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const NEIGHBOURHOOD = 5; // Å
const CHAINS = "protein or nucleic"; // NGL’s "polymer" needs entity ids that are numbers

const MANY_VOXELS = 500_000; // the mesh of a larger map would hide the models behind it
const CLEAR = 0.7;
const FAINT = 0.22;

class LoadingError extends Error {}

function script(url) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = url;
    element.onload = resolve;
    element.onerror = () => reject(new LoadingError("The viewer could not be loaded."));
    document.head.append(element);
  });
}

// Links between residues as gemmi writes them are valid, but NGL stops at those that don't state their bond order.
// It does without them, so they are put out of its sight.
function withoutIncomplete(text) {
  return text.includes("_struct_conn.pdbx_value_order") ? text : text.replace(/^_struct_conn\./gm, "_struct_conn_unread.");
}

async function readable(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new LoadingError(`${url} could not be loaded.`);
  const text = await new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).text();
  return new Blob([withoutIncomplete(text)], { type: "text/plain" });
}

function colourOf(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.stageElement = root.querySelector("[data-stage]");
    this.status = root.querySelector("[data-status]");
    this.components = {};
    this.outlier = -1;
    this.loading = null;
  }

  find(name) {
    return this.root.querySelector(`[data-${name}]`);
  }

  say(text) {
    this.status.textContent = text;
  }

  // Loads everything once; later calls wait for the same promise.
  load() {
    this.loading ??= this.loadAll().catch((error) => {
      this.say(error instanceof LoadingError ? error.message : "The viewer doesn’t work in this browser.");
      this.loading = null;
      this.find("cover").hidden = false;
      if (!(error instanceof LoadingError)) throw error;
    });
    return this.loading;
  }

  async loadAll() {
    this.find("cover").hidden = true;
    this.say("Loading the viewer …");
    if (!window.NGL) await script(this.root.dataset.ngl);
    this.stage ??= new window.NGL.Stage(this.stageElement, { tooltip: false });
    this.root.ceresStage = this.stage;
    this.paintBackground();
    for (const what of ["initial", "refined", "map"]) await this.loadFile(what);
    this.draw();
    this.setUpLevel();
    this.find("controls").hidden = false;
    this.orient();
    this.stage.signals.clicked.add((picked) => this.picked(picked));
    this.root.dataset.ready = "true";
    this.say("");
    const residue = current();
    if (residue) this.focus(residue);
  }

  async loadFile(what) {
    const url = this.root.dataset[what];
    if (!url || this.components[what]) return;
    this.say(`Loading the ${NAMES[what]} …`);
    try {
      const file = what === "map" ? url : await readable(url);
      this.components[what] = await this.stage.loadFile(file, what === "map" ? { name: what } : { name: what, ext: "cif" });
    } catch {
      throw new LoadingError(`The ${NAMES[what]} could not be loaded.`);
    }
  }

  paintBackground() {
    this.stage?.setParameters({ backgroundColor: getComputedStyle(this.stageElement).backgroundColor });
    this.surface?.setColor(colourOf("--map"));
  }

  draw() {
    const style = this.find("style").value;
    for (const what of ["initial", "refined"]) {
      const component = this.components[what];
      if (!component) continue;
      component.removeAllRepresentations();
      const look = { color: COLOURS[what], smoothSheet: true };
      if (style === "cartoon") {
        component.addRepresentation("cartoon", { ...look, sele: CHAINS });
        component.addRepresentation("licorice", { ...look, sele: `not (${CHAINS}) and not water`, radius: 0.2 });
      } else {
        component.addRepresentation(style, { ...look, sele: "not water", radius: style === "licorice" ? 0.18 : undefined, multipleBond: "off" });
      }
      component.setVisibility(this.isShown(what));
    }
  }

  isShown(what) {
    return this.root.querySelector(`[data-show="${what}"]`).checked;
  }

  // The longest axis of the model lies across the screen.
  orient() {
    const component = this.components.refined ?? this.components.initial;
    const axes = component?.structure.getPrincipalAxes();
    if (axes) this.stage.animationControls.rotate(axes.getRotationQuaternion(), 0);
    this.stage.autoView(0);
  }

  // The slider counts standard deviations of the whole map above its mean, as the text beside it says.
  setUpLevel() {
    const component = this.components.map;
    if (!component) return;
    const { contour, mean, sd } = this.root.dataset;
    const volume = component.volume;
    this.mean = mean === undefined ? volume.mean : Number(mean);
    this.sd = sd === undefined || Number(sd) <= 0 ? volume.rms : Number(sd);
    const level = contour === undefined ? this.mean + 5 * this.sd : Number(contour);
    const slider = this.find("level");
    const start = (level - this.mean) / this.sd;
    slider.max = String(Math.max(12, Math.ceil(2 * start)));
    slider.value = String(start);
    this.opacity = volume.nx * volume.ny * volume.nz > MANY_VOXELS ? FAINT : CLEAR;
    this.surface = component.addRepresentation("surface", {
      isolevelType: "value",
      isolevel: level,
      contour: true,
      color: colourOf("--map"),
      opacity: this.opacity,
      useWorker: true,
    });
    component.setVisibility(this.isShown("map"));
    this.writeLevel(level, contour !== undefined);
  }

  writeLevel(level, recommended) {
    const text = `${((level - this.mean) / this.sd).toFixed(1)} σ = ${level.toPrecision(3)}`;
    this.find("level-text").textContent = recommended ? `${text} (authors’)` : text;
    this.find("level").setAttribute("aria-valuetext", text);
  }

  changeLevel() {
    const level = this.mean + Number(this.find("level").value) * this.sd;
    this.surface.setParameters({ isolevel: level });
    this.writeLevel(level, false);
  }

  // Sticks of a residue and what is around it in both models, and the camera there.
  focus({ chain, number }) {
    if (!this.stage) return;
    const [, digits, insertion] = /^(-?\d+)([A-Za-z]?)$/.exec(number);
    const selection = `${digits}${insertion ? `^${insertion}` : ""}:${chain}`;
    let target = null;
    for (const what of ["initial", "refined"]) {
      const component = this.components[what];
      if (!component) continue;
      for (const drawn of component.reprList.filter((each) => each.name === "around")) component.removeRepresentation(drawn);
      const structure = component.structure;
      const near = structure.getAtomSetWithinSelection(new window.NGL.Selection(selection), NEIGHBOURHOOD);
      if (near.isAllClear()) continue;
      const around = structure.getAtomSetWithinGroup(near).toSeleString();
      component.addRepresentation("licorice", {
        name: "around",
        sele: around,
        color: COLOURS[what],
        radius: 0.14,
        multipleBond: "off",
      });
      target = { component, around };
    }
    if (target) {
      this.fade(true);
      target.component.autoView(target.around, CALM.matches ? 0 : 500);
    }
    this.say(target ? `Residue ${chain}/${number}` : `Neither model has a residue ${chain}/${number}.`);
  }

  // Near a residue its sticks and the map count; the ribbons step back.
  fade(near) {
    this.surface?.setParameters({ opacity: near ? CLEAR : this.opacity });
    for (const what of ["initial", "refined"]) {
      const component = this.components[what];
      for (const drawn of [...(component?.reprList ?? [])]) {
        if (drawn.name === "cartoon") drawn.setParameters({ opacity: near ? 0.3 : 1 });
        if (drawn.name === "around" && !near) component.removeRepresentation(drawn);
      }
    }
  }

  showWhole() {
    this.fade(false);
    this.say("");
    this.stage.autoView(CALM.matches ? 0 : 500);
  }

  picked(proxy) {
    const atom = proxy?.atom ?? proxy?.closestBondAtom;
    if (!atom) return;
    select(atom.chainname, `${atom.resno}${(atom.inscode ?? "").trim()}`, "viewer");
  }

  nextOutlier() {
    const links = [...document.querySelectorAll("[data-residue]")];
    if (!links.length) return;
    this.outlier = (this.outlier + 1) % links.length;
    location.hash = links[this.outlier].getAttribute("href");
  }

  async saveImage() {
    const image = await this.stage.makeImage({ factor: 2, antialias: true, trim: false, transparent: false });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(image);
    link.download = `${location.pathname.split("/")[2]}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  connect() {
    const button = this.find("load");
    button.hidden = false;
    this.find("load-note").textContent = "Deposited in coral, refined in teal, with the map around them.";
    button.addEventListener("click", () => this.load());
    for (const box of this.root.querySelectorAll("[data-show]")) {
      box.closest("label").hidden = !this.root.dataset[box.dataset.show];
      box.addEventListener("change", () => this.components[box.dataset.show]?.setVisibility(box.checked));
    }
    this.root.querySelector(".level").hidden = !this.root.dataset.map;
    this.find("level").addEventListener("input", () => this.changeLevel());
    this.find("style").addEventListener("change", () => this.draw());
    this.find("whole").addEventListener("click", () => this.showWhole());
    this.find("image").addEventListener("click", () => this.saveImage());
    this.find("full").addEventListener("click", () => this.stage.toggleFullscreen(this.root));
    const next = this.find("next-outlier");
    next.hidden = !document.querySelector("[data-residue]");
    next.addEventListener("click", () => this.nextOutlier());
    addEventListener("resize", () => this.stage?.handleResize());
    document.addEventListener("ceres:theme", () => this.paintBackground());
    onSelect(async (residue) => {
      await this.load();
      this.focus(residue);
    });
    this.loadWhenReached();
  }

  // A viewer that is in view from the start waits for its button; one further down loads when the reader comes to it.
  loadWhenReached() {
    if (current()) {
      this.load();
      return;
    }
    if (navigator.connection?.saveData) return;
    let first = true;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting && !first) {
        this.load();
        observer.disconnect();
      }
      first = false;
    });
    observer.observe(this.root);
  }
}

const root = document.querySelector("[data-viewer]");
if (root) {
  new Viewer(root).connect();
  followAddress();
}
