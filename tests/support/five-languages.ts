/** Text in five languages, made of phrases: the same for the same seed, on every machine. */
export const languages = ['english', 'german', 'russian', 'chinese', 'arabic'] as const;
export type Language = (typeof languages)[number];

/** How the languages of a data set follow one another. */
export const dataSets = [...languages, 'alternating', 'runs', 'within a row'] as const;
export type DataSet = (typeof dataSets)[number];

/** So many rows of 1 KB on average, between 60 bytes and 4 KB. */
export function fiveLanguages(dataSet: DataSet, rows: number, seed = 1): string[] {
  const random = randomNumbers(seed);
  let language: Language = 'english';
  let left = 0;
  return Array.from({ length: rows }, (_, n) => {
    const bytes = rowBytes(random);
    switch (dataSet) {
      case 'alternating':
        return row(random, [languages[n % languages.length]!], bytes);
      case 'runs':
        if (left === 0) {
          language = pick(random, languages);
          left = 20 + Math.floor(random() * 200);
        }
        left -= 1;
        return row(random, [language], bytes);
      case 'within a row':
        return row(random, languages, bytes);
      default:
        return row(random, [dataSet], bytes);
    }
  });
}

/** Numbers from 0 to 1 (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Most rows are short and a few are long, as in tables that people fill. */
function rowBytes(random: () => number): number {
  const share = random();
  if (share < 0.1) return 60 + random() * 200;
  if (share < 0.85) return 300 + random() * 1100;
  return 1400 + random() * 1900;
}

function row(random: () => number, among: readonly Language[], bytes: number): string {
  // Rows differ in kind: some tell, some list, some are full of numbers.
  const numbers = random() ** 3;
  const paragraphs = random() * 0.2;
  const title = phrases[pick(random, among)];
  let text = `${pick(random, title.names)}, ${1900 + Math.floor(random() * 126)}\n`;
  while (Buffer.byteLength(text) < bytes) {
    const language = pick(random, among);
    text += sentence(random, language, numbers);
    text += random() < paragraphs ? '\n\n' : phrases[language].gap;
  }
  return text.trimEnd();
}

function sentence(random: () => number, language: Language, numbers: number): string {
  const words = phrases[language];
  const { gap } = words;
  if (random() < numbers) return fact(random, words);
  const clause = () => `${pick(random, words.who)}${gap}${pick(random, words.does)}`;
  const kind = random();
  if (kind < 0.1)
    return `${words.quote[0]}${clause()}${words.quote[1]}${words.comma}${pick(random, words.names)}${words.stop}`;
  let text = kind < 0.4 ? `${pick(random, words.when)}${words.comma}${clause()}` : clause();
  if (random() < 0.6) text += `${gap}${pick(random, words.where)}`;
  if (random() < 0.5) text += `${words.comma}${pick(random, words.links)}${gap}${clause()}`;
  return text + (random() < 0.06 ? words.ask : words.stop);
}

function fact(random: () => number, words: Phrases): string {
  const number = () => Math.floor(10 ** (1 + random() * 5));
  switch (Math.floor(random() * 4)) {
    case 0:
      return `${pick(random, words.nouns)}: ${number()} (${(random() * 100).toFixed(1)} %)${words.stop}`;
    case 1:
      return `${pick(random, words.nouns)} ${number()}-${number().toString(16).toUpperCase()}${words.stop}`;
    case 2:
      return `${pick(random, words.names)}${words.comma}${1 + Math.floor(random() * 28)}.${1 + Math.floor(random() * 12)}.${1950 + Math.floor(random() * 75)}${words.stop}`;
    default:
      return `${pick(random, words.nouns)}${words.comma}${pick(random, words.nouns)}${words.comma}${pick(random, words.nouns)}${words.stop}`;
  }
}

function pick<T>(random: () => number, among: readonly T[]): T {
  return among[Math.floor(random() * among.length)]!;
}

type Phrases = {
  gap: string;
  comma: string;
  stop: string;
  ask: string;
  quote: [string, string];
  names: string[];
  nouns: string[];
  who: string[];
  does: string[];
  where: string[];
  when: string[];
  links: string[];
};

const list = (text: string) => text.split(' / ');

const phrases: Record<Language, Phrases> = {
  english: {
    gap: ' ',
    comma: ', ',
    stop: '.',
    ask: '?',
    quote: ['"', '"'],
    names: list(
      "Eleanor Whitcombe / Captain Doyle / Hargreaves & Sons / Maggie O'Connell / St. Albans / The Harbour Inn / Theodore Blythe / Northumberland / Dr. Ashworth / Wren / Old Tom Pickering / Little Wandsworth",
    ),
    nouns: list(
      'harvest / lighthouse / railway timetable / cast-iron stove / unpaid invoices / wedding dress / battery pack / customer complaint / thunderstorm / bookkeeper / shipping container / grandmother / stainless steel / night shift / apprenticeship / vineyard',
    ),
    who: list(
      "a retired schoolteacher / the youngest of three brothers / an ambitious young lawyer / nobody in the village / the night watchman / a team of marine biologists / his estranged daughter / the travelling salesman / two rival pastry cooks / the committee / a widow with a sharp tongue / an orphan who can't swim / the customer / I / we / the ship's only survivor / her overbearing mother-in-law / an unshaven violinist",
    ),
    does: list(
      "discovers a bundle of yellowed letters / refuses to sell the family bakery / is wrongly accused of arson / can't remember the way home / returned the parcel without opening it / falls for a woman twice his age / builds a flying machine out of scrap / keeps the whole town guessing / has waited thirteen years for an apology / lost everything at the roulette table / learns to read by candlelight / would like a refund / swears to avenge the betrayal / smuggles medicine across the frontier / didn't notice the leaking pipe / negotiates a fragile truce / inherits a crumbling mansion / photographs endangered seabirds",
    ),
    where: list(
      "on a windswept island off the Scottish coast / in the back room of a laundrette / aboard the last train to Budapest / beneath the floorboards / at the edge of the desert / in a city that never forgives / behind the counter / near the abandoned quarry / throughout the neighbourhood / in his grandfather's workshop / at the annual county fair",
    ),
    when: list(
      'In the summer of the great drought / One rainy evening / Years later / Shortly before Christmas / After the funeral / Every other Thursday / Meanwhile / To everyone’s astonishment / Without warning / According to the manual / By the time the war is over',
    ),
    links: list(
      'and / but / because / although / while / until / so that / unless / before / whereas / even though',
    ),
  },
  german: {
    gap: ' ',
    comma: ', ',
    stop: '.',
    ask: '?',
    quote: ['„', '“'],
    names: list(
      'Friedrich Lindenschmidt / Frau Brüggemann / Gebr. Höfle GmbH / Königswinter / Dr. Annegret Weiß / Bäckerei Schürmann / Hauptkommissar Krause / Untergrombach / Jürgen / Gräfin von Thalheim / Leipzig-Gohlis / Özlem Yıldız',
    ),
    nouns: list(
      'Steuererklärung / Hochzeitskleid / Fahrgastinformation / Kühlschrank / Rechnungsbetrag / Gewitterwolken / Mängelrüge / Großmutter / Bedienungsanleitung / Weinlese / Schichtleiter / Brückengeländer / Rückgaberecht / Donaudampfschifffahrt / Krankenversicherung / Apfelkuchen',
    ),
    who: list(
      'ein pensionierter Lehrer / die jüngste der drei Schwestern / der ehrgeizige Rechtsanwalt / niemand im Dorf / der Nachtwächter / eine Gruppe von Meeresforschern / seine entfremdete Tochter / der Handlungsreisende / zwei verfeindete Konditoren / der Gemeinderat / eine scharfzüngige Witwe / ein Waisenkind ohne Papiere / der Kunde / ich / wir / der einzige Überlebende / ihre herrische Schwiegermutter / ein unrasierter Geiger',
    ),
    does: list(
      'entdeckt ein Bündel vergilbter Briefe / weigert sich, die Bäckerei zu verkaufen / wird zu Unrecht der Brandstiftung beschuldigt / findet den Heimweg nicht mehr / schickte das Paket ungeöffnet zurück / verliebt sich in eine doppelt so alte Frau / baut aus Schrott eine Flugmaschine / hält die ganze Stadt in Atem / wartet seit dreizehn Jahren auf eine Entschuldigung / verlor am Spieltisch sein Vermögen / lernt bei Kerzenschein lesen / möchte den Kaufpreis erstattet haben / schwört, den Verrat zu rächen / schmuggelt Medikamente über die Grenze / bemerkte das undichte Rohr nicht / handelt einen brüchigen Waffenstillstand aus / erbt ein baufälliges Herrenhaus / fotografiert bedrohte Seevögel',
    ),
    where: list(
      'auf einer sturmumtosten Hallig / im Hinterzimmer einer Wäscherei / im letzten Zug nach Budapest / unter den Dielenbrettern / am Rand der Wüste / in einer Stadt, die nichts verzeiht / hinter dem Tresen / beim stillgelegten Steinbruch / in der ganzen Nachbarschaft / in der Werkstatt seines Großvaters / auf dem Jahrmarkt',
    ),
    when: list(
      'Im Sommer der großen Dürre / Eines regnerischen Abends / Jahre später / Kurz vor Weihnachten / Nach der Beerdigung / Jeden zweiten Donnerstag / Unterdessen / Zum Erstaunen aller / Ohne Vorwarnung / Laut Bedienungsanleitung / Gegen Ende des Krieges',
    ),
    links: list(
      'und / aber / denn / obwohl / während / bis / damit / es sei denn, / bevor / wohingegen / auch wenn',
    ),
  },
  russian: {
    gap: ' ',
    comma: ', ',
    stop: '.',
    ask: '?',
    quote: ['«', '»'],
    names: list(
      'Анна Сергеевна Кузнецова / капитан Воронцов / ООО «Северный ветер» / Нижний Новгород / доктор Лебедев / Екатерина / Вышний Волочёк / дядя Миша / графиня Оболенская / Ялта / Пётр Ильич / Замоскворечье',
    ),
    nouns: list(
      'урожай / налоговая декларация / расписание поездов / свадебное платье / холодильник / неоплаченный счёт / гроза / бабушка / руководство по эксплуатации / виноградник / ночная смена / жалоба покупателя / пароходство / железнодорожный мост / страховой полис / яблочный пирог',
    ),
    who: list(
      'учитель на пенсии / младшая из трёх сестёр / честолюбивый молодой адвокат / никто в деревне / ночной сторож / группа морских биологов / его взрослая дочь / странствующий торговец / два враждующих кондитера / городской совет / острая на язык вдова / сирота без документов / покупатель / я / мы с братом / единственный выживший матрос / властная свекровь / небритый скрипач',
    ),
    does: list(
      'находит связку пожелтевших писем / отказывается продавать пекарню / несправедливо обвинён в поджоге / не помнит дороги домой / вернул посылку нераспечатанной / влюбляется в женщину вдвое старше / строит летательный аппарат из металлолома / держит в напряжении весь город / тринадцать лет ждёт извинений / проиграл всё состояние в рулетку / учится читать при свечах / требует вернуть деньги / клянётся отомстить за предательство / перевозит лекарства через границу / не заметил протекающую трубу / добивается хрупкого перемирия / наследует полуразрушенную усадьбу / снимает исчезающих морских птиц',
    ),
    where: list(
      'на продуваемом всеми ветрами острове / в подсобке прачечной / в последнем поезде на Будапешт / под половицами / на краю пустыни / в городе, который ничего не прощает / за прилавком / возле заброшенного карьера / по всей округе / в мастерской деда / на ежегодной ярмарке',
    ),
    when: list(
      'Летом великой засухи / Однажды дождливым вечером / Много лет спустя / Незадолго до Рождества / После похорон / Каждый второй четверг / Тем временем / Ко всеобщему изумлению / Без предупреждения / Согласно инструкции / К концу войны',
    ),
    links: list(
      'и / но / потому что / хотя / пока / чтобы / если только / прежде чем / тогда как / даже если',
    ),
  },
  chinese: {
    gap: '',
    comma: '，',
    stop: '。',
    ask: '？',
    quote: ['“', '”'],
    names: list(
      '李建国 / 王晓梅 / 上海永安百货公司 / 陈船长 / 云南大理 / 张医生 / 老赵 / 苏州河畔 / 欧阳雪 / 青岛海员俱乐部 / 林先生 / 哈尔滨',
    ),
    nouns: list(
      '庄稼 / 灯塔 / 列车时刻表 / 婚纱 / 冰箱 / 未付账单 / 雷阵雨 / 祖母 / 使用说明书 / 葡萄园 / 夜班 / 顾客投诉 / 集装箱 / 不锈钢 / 医疗保险 / 苹果派',
    ),
    who: list(
      '一位退休的中学教师 / 三姐妹中最小的一个 / 野心勃勃的年轻律师 / 村里没有人 / 守夜人 / 一支海洋生物学家团队 / 他疏远多年的女儿 / 走街串巷的推销员 / 两位互相竞争的糕点师傅 / 市议会 / 一个嘴巴厉害的寡妇 / 不会游泳的孤儿 / 顾客 / 我 / 我们 / 船上唯一的幸存者 / 她那专横的婆婆 / 胡子拉碴的小提琴手',
    ),
    does: list(
      '发现了一捆泛黄的信件 / 拒绝出售家里的面包店 / 被冤枉纵火 / 忘记了回家的路 / 没有拆开就退回了包裹 / 爱上了年龄大一倍的女人 / 用废铁造出一架飞行器 / 让整座城市议论纷纷 / 等待一句道歉已经十三年 / 在赌桌上输掉了全部财产 / 在烛光下学会了认字 / 要求全额退款 / 发誓要为背叛复仇 / 把药品偷运过边境 / 没有注意到漏水的管子 / 促成了脆弱的停战协议 / 继承了一座摇摇欲坠的老宅 / 拍摄濒临灭绝的海鸟',
    ),
    where: list(
      '在狂风呼啸的海岛上 / 在洗衣店的后屋里 / 在开往布达佩斯的末班列车上 / 在地板下面 / 在沙漠的边缘 / 在一座从不宽恕的城市里 / 在柜台后面 / 在废弃的采石场附近 / 在整个街区 / 在祖父的作坊里 / 在一年一度的庙会上',
    ),
    when: list(
      '大旱的那个夏天 / 一个下雨的傍晚 / 多年以后 / 春节前不久 / 葬礼之后 / 每隔一个星期四 / 与此同时 / 令所有人惊讶的是 / 毫无预兆地 / 根据说明书 / 战争快结束的时候',
    ),
    links: list('而且 / 但是 / 因为 / 虽然 / 直到 / 以便 / 除非 / 在此之前 / 反而 / 即使'),
  },
  arabic: {
    gap: ' ',
    comma: '، ',
    stop: '.',
    ask: '؟',
    quote: ['«', '»'],
    names: list(
      'فاطمة الزهراء / القبطان سليم / شركة النور للتجارة / الدار البيضاء / الدكتور حسن عبد الله / ليلى منصور / حلب القديمة / العم محمود / الأميرة نورة / بورسعيد / يوسف الخطيب / بيروت',
    ),
    nouns: list(
      'الحصاد / المنارة / جدول القطارات / فستان الزفاف / الثلاجة / فاتورة غير مدفوعة / عاصفة رعدية / الجدة / دليل الاستخدام / كرم العنب / المناوبة الليلية / شكوى العميل / حاوية الشحن / التأمين الصحي / فطيرة التفاح / الفولاذ المقاوم للصدأ',
    ),
    who: list(
      'معلم متقاعد / أصغر الأخوات الثلاث / محام شاب طموح / لا أحد في القرية / الحارس الليلي / فريق من علماء الأحياء البحرية / ابنته التي هجرته / البائع المتجول / صانعا حلويات متنافسان / مجلس المدينة / أرملة حادة اللسان / يتيم لا يجيد السباحة / العميل / أنا / نحن / الناجي الوحيد من السفينة / حماتها المتسلطة / عازف كمان غير حليق',
    ),
    does: list(
      'يكتشف حزمة من الرسائل المصفرة / يرفض بيع مخبز العائلة / يتهم ظلما بإشعال الحريق / لا يتذكر طريق العودة إلى البيت / أعاد الطرد دون أن يفتحه / يقع في حب امرأة تكبره بسنوات / يبني آلة طائرة من الخردة / يشغل المدينة كلها / ينتظر اعتذارا منذ ثلاثة عشر عاما / خسر ثروته كلها في القمار / يتعلم القراءة على ضوء الشموع / يطالب باسترداد المبلغ كاملا / يقسم على الانتقام من الخيانة / يهرب الأدوية عبر الحدود / لم يلاحظ الأنبوب المكسور / يتوصل إلى هدنة هشة / يرث قصرا متداعيا / يصور طيورا بحرية مهددة بالانقراض',
    ),
    where: list(
      'على جزيرة تعصف بها الرياح / في الغرفة الخلفية للمغسلة / في آخر قطار إلى بودابست / تحت ألواح الأرضية / على حافة الصحراء / في مدينة لا تغفر لأحد / خلف المنضدة / قرب المحجر المهجور / في أنحاء الحي كله / في ورشة جده / في السوق السنوي',
    ),
    when: list(
      'في صيف الجفاف الكبير / ذات مساء ممطر / بعد سنوات / قبل العيد بقليل / بعد الجنازة / كل يوم خميس / في هذه الأثناء / وسط دهشة الجميع / دون سابق إنذار / وفقا لدليل الاستخدام / مع نهاية الحرب',
    ),
    links: list('ولكن / لأن / على الرغم من أن / بينما / حتى / لكي / إلا إذا / قبل أن / في حين أن / ثم'),
  },
};
