"""Who writes generated mail: people with names in their scripts, companies with newsletters and notices."""

from dataclasses import dataclass

NAMES = {
    "en": "Ann Brown;Oliver Hughes;Priya Shah;Tom O'Neill;Grace Okafor;Sam Fletcher",
    "de": "Jürgen Müller;Käthe Schäfer;Björn Weiß;Anke Groß;Sören Lübke;Ute König",
    "fr": "Élodie Lefèvre;François Garçon;Zoé Bénard;Hervé Noël;Inès Crépin;Agnès Prévôt",
    "es": "Íñigo Muñoz;Lucía Núñez;José Ibáñez;Begoña Peña;Raúl Gómez;Nuria Cañas",
    "pl": "Łukasz Wiśniewski;Małgorzata Dąbrowska;Paweł Zieliński;Świętosława Żak;Józef Kołodziej;Ola Gęś",
    "ru": "Анна Смирнова;Пётр Кузнецов;Юлия Щербакова;Фёдор Ёлкин;Ольга Цветкова;Игорь Жуков",
    "el": "Γιώργος Παπαδόπουλος;Ελένη Νικολάου;Σοφία Δημητρίου;Νίκος Χατζής;Μαρία Ψαρρού;Άγγελος Ξένος",
    "tr": "Ayşe Yılmaz;Çağrı Öztürk;Gülşen Işık;İbrahim Şahin;Ömer Doğan;Zeynep Güneş",
    "ar": "ليلى حداد;يوسف منصور;مريم الخطيب;سامي نصر;هدى سالم;عمر زيدان",
    "he": "נועה כהן;דוד לוי;יעל מזרחי;אורי פרץ;תמר ביטון;גיל אברהם",
    "hi": "अनिता शर्मा;राजेश कुमार;प्रिया सिंह;विक्रम मेहता;सुनीता राव;अमित जोशी",
    "ja": "山田太郎;佐藤花子;鈴木一郎;高橋美咲;田中健;渡辺由美",
    "zh-CN": "王小明;李丽;张伟;刘洋;陈静;赵磊",
    "zh-TW": "林志明;黃淑芬;吳雅婷;蔡建宏;許美玲;鄭文傑",
    "ko": "김민수;이서연;박지훈;최유진;정현우;강하늘",
}
COMPANIES = (
    "Nordlicht Versand;nordlicht-versand.example",
    "Blue Kettle Coffee;bluekettle.example",
    "Станция Книга;kniga.example",
    "Librairie du Canal;librairie-canal.example",
    "さくら便り;sakura-dayori.example",
    "Fahrradladen Süd;fahrrad-sued.example",
    "Parcel Point;parcelpoint.example",
    "Harbour Bank;harbourbank.example",
    "Forge;forge.example",
    "Civic Library;library.example",
    "Przystanek Kultura;przystanek.example",
    "三月书店;sanyue.example",
)
LISTS = ("garden-talk", "dev-announce", "choir", "rowing-club", "python-tokyo", "stammtisch")
MAIL_PROGRAMS = (
    "Postbote 7.2 (Linux)",
    "Kettle Mail 16.0.5413",
    "Tern/3.1.9",
    "Becky-like Mailer 2.81 [ja]",
    "webmail/1.6.2",
)


@dataclass(frozen=True, slots=True)
class Person:
    """Someone with an address. `name` is in the script of the person's language."""

    name: str
    address: str


OWNER = Person("Robin Vega", "robin@vega.example")

# Local parts are kept ASCII, as almost everywhere: a person's language and number name them.
PEOPLE = {
    code: tuple(
        Person(
            name, f"{code.lower().replace('-', '')}.{number}@{('mail', 'post', 'office')[number % 3]}.example"
        )
        for number, name in enumerate(names.split(";"))
    )
    for code, names in NAMES.items()
}
SENDERS = tuple(
    Person(name, f"news@{domain}") for name, domain in (company.split(";") for company in COMPANIES)
)
