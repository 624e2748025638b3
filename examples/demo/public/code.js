const token =
  /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<string>"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|(?<number>\b\d[\d_]*\b)|(?<keyword>\b(?:async|await|break|case|catch|class|const|else|export|extends|finally|for|from|function|if|import|in|let|new|null|of|return|super|switch|this|throw|try|type|typeof|undefined|void|while|yield)\b)/g;

/** Fetches a source file and shows it in `element`, lightly coloured. */
export async function showCode(element, path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  const text = await response.text();
  let end = 0;
  element.replaceChildren();
  for (const { 0: found, index, groups } of text.matchAll(token)) {
    const mark = document.createElement("span");
    mark.className = Object.keys(groups).find((name) => groups[name] !== undefined);
    mark.textContent = found;
    element.append(text.slice(end, index), mark);
    end = index + found.length;
  }
  element.append(text.slice(end));
}
