/**
 * Which words of a text speak for which category. Small on purpose: enough that a person who looks at the
 * answers of a film, a product review or a support ticket sees something sensible.
 */
const vocabulary: Record<string, string> = {
  Action: 'action fight fights battle chase explosion mercenary assassin commando hijack rescue hero',
  Adventure:
    'adventure journey quest expedition treasure explorer island jungle pirate pirates voyage mountain forest castle shipwreck desert',
  Animation: 'animated animation cartoon toy toys',
  Biography: 'biography biographical biopic memoir',
  Comedy:
    'comedy funny hilarious comic joke jokes laugh prank wedding misadventures party charming mistaken nasty',
  Crime:
    'murder crime criminal killer police detective robbery heist gangster mafia mob prison convict theft gang gangs kill killing shot jewels policeman lawyer court violent thieves',
  Documentary: 'documentary footage interviews',
  Drama:
    'drama struggle struggles grief tragedy dying addiction redemption divorce lonely widow girl village neighbours actress hollywood desperate pregnant',
  Family: 'family children kids mother father daughter son parents siblings brother sister',
  Fantasy: 'magic magical wizard witch dragon fairy kingdom hobbit sorcerer myth',
  History:
    'history historical century king queen emperor empire revolution medieval samurai soviet roman rome',
  Horror: 'horror haunted ghost zombie zombies vampire demon terror evil monster possessed',
  Music: 'music musician band singer song songs concert piano guitar pianist orchestra opera dancer dance',
  Mystery:
    'mystery mysterious investigate investigates investigation disappearance clue secret secrets missing reporter stranger hides gossip',
  Romance: 'love romance romantic lover lovers marriage affair kiss falls couple bride wife husband',
  'Science Fiction':
    'space alien aliens robot robots future planet spaceship galaxy android cyborg dystopian dinosaurs dinosaur cloned laboratory machine',
  Sport: 'sport sports boxing boxer football baseball basketball coach team championship race racing',
  Thriller: 'thriller conspiracy hostage spy kidnapped kidnapping blackmail stalker bomb',
  War: 'war soldier soldiers army nazi wartime battlefield military vietnam',
  Western: 'western cowboy sheriff outlaw ranch frontier',
  Business: 'business company market sales startup customer customers invoice payment price',
  Technology: 'technology software computer app data internet phone laptop battery screen code',
  Health: 'health doctor hospital patient disease medicine medical fitness',
  Food: 'food cooking chef restaurant recipe kitchen taste delicious coffee',
  Travel: 'travel hotel flight trip airport tourist beach',
  Politics: 'politics president election government senator minister policy law',
  Science: 'science scientist research experiment physics biology chemistry',
  Education: 'school teacher student students university college education lesson',
};

const categoryOfWord = new Map<string, string>();
for (const [category, words] of Object.entries(vocabulary)) {
  for (const word of words.split(' ')) categoryOfWord.set(word, category);
  for (const word of category.toLowerCase().split(' ')) {
    if (!categoryOfWord.has(word)) categoryOfWord.set(word, category);
  }
}

const good = wordSet(
  'good great love loved excellent wonderful amazing happy best perfect beautiful enjoy enjoyed',
);
const bad = wordSet(
  'bad terrible awful hate hated worst poor broken boring sad angry disappointed refund evil',
);
const common = wordSet(
  `the a an and or but of in on at to for from with without by as is are was were be been being it its this that
  these those he she they them his her their him who whom whose which what when where while after before into
  over under about not no nor only just than then there here has have had do does did will would can could may
  might must shall should you your we our us i me my one two new also very more most some any all each both
  during between against through because until upon out up down off again title description text row`,
);

function wordSet(words: string): Set<string> {
  return new Set(words.split(/\s+/));
}

/** Up to `limit` categories that a lower-case text speaks of, the most frequent first. */
export function categoriesIn(lower: string, limit: number): string[] {
  const counts = new Map<string, number>();
  for (const word of lower.match(/[a-z]{3,}/g) ?? []) {
    const category = categoryOfWord.get(word);
    if (category !== undefined) counts.set(category, (counts.get(category) ?? 0) + 1);
  }
  // The sort is stable: what was named first comes first among equals.
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, limit)
    .map(([category]) => category);
}

/** `positive`, `negative` or `neutral`, by the words that occur. */
export function sentimentOf(lower: string): 'positive' | 'negative' | 'neutral' {
  let balance = 0;
  for (const word of lower.match(/[a-z]{3,}/g) ?? []) {
    if (good.has(word)) balance++;
    else if (bad.has(word)) balance--;
  }
  return balance > 0 ? 'positive' : balance < 0 ? 'negative' : 'neutral';
}

/** Up to `limit` different words of a text that say something: capitalised ones first, then long ones. */
export function notableWords(text: string, limit: number): string[] {
  const seen = new Set<string>();
  const words: string[] = [];
  for (const word of text.match(/[\p{L}\p{N}]+/gu) ?? []) {
    const lower = word.toLowerCase();
    if (word.length < 3 || word.length > 40 || common.has(lower) || seen.has(lower)) continue;
    seen.add(lower);
    words.push(word);
  }
  const weight = (word: string) => (/^\p{Lu}/u.test(word) ? 100 : 0) + Math.min(word.length, 12);
  return words.sort((a, b) => weight(b) - weight(a)).slice(0, limit);
}
