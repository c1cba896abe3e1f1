// a click on a heading sorts the rows by that column, a second one the other way round; what is empty stays last
document.getElementById("sorts").hidden = false;
for (const button of document.querySelectorAll("#audits button")) {
  button.disabled = false;
  button.addEventListener("click", () => {
    const heading = button.closest("th"), body = document.querySelector("#audits tbody"), column = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.cells[column]?.dataset.value ?? "";
    const numbers = heading.dataset.kind === "number";
    const compare = (a, b) => (numbers ? a - b : a.localeCompare(b, undefined, { numeric: true })) * (down ? -1 : 1);
    const rows = [...body.rows].sort((one, other) => {
      const a = value(one), b = value(other);
      return a === "" || b === "" ? (a === "") - (b === "") : compare(a, b);
    });
    body.append(...rows);
    for (const other of document.querySelectorAll("#audits thead th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  });
}
