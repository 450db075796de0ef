const words =
  'war love river winter letter city train father stranger island night secret journey garden captain music silence border harvest machine'.split(
    ' ',
  );

/** About 600 bytes of text that differs from row to row and is the same in every run. */
export function filmRow(n: number): { title: string; description: string } {
  let description = `Row ${n}:`;
  let state = n * 7919 + 13;
  while (description.length < 560) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    description += ` ${words[state % words.length]}${state % 97}`;
  }
  return { title: `Film ${n}`, description };
}

/** INSERT statements of `perStatement` rows each, as the Supabase dashboard sends them. */
export function insertStatements(table: string, count: number, perStatement: number): string[] {
  const statements: string[] = [];
  for (let from = 0; from < count; from += perStatement) {
    const values: string[] = [];
    for (let n = from; n < Math.min(count, from + perStatement); n += 1) {
      const row = filmRow(n);
      values.push(`('${row.title}','${row.description}')`);
    }
    statements.push(`insert into ${table} (title, description) values ${values.join(',')}`);
  }
  return statements;
}
