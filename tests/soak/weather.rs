//! Bad weather between the server and PostgreSQL.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::factory::{Factory, length, seed};
use crate::house::until;
use crate::load::Load;
use crate::postgres;
use crate::proxy::{Proxy, Weather};

#[test]
fn nothing_is_lost_or_doubled_by_a_bad_network_to_postgresql() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (name, direct) = runtime.block_on(postgres::create_database());
    let proxy = Proxy::before(&direct);
    let factory = Factory::start(Some((&proxy.url, &direct)), 2);
    let mut dice = Dice(seed());
    let load = Load::begin(&factory.house.url(), &factory.token());
    let begin = Instant::now();
    while begin.elapsed() < length() {
        let weather = *dice.pick(&Weather::ALL);
        proxy.be(weather);
        let pause = if weather == Weather::Brittle { 3000 } else { 1500 };
        sleep(Duration::from_millis(200 + dice.roll(pause) as u64));
    }
    // The server finds its database again by itself.
    proxy.be(Weather::Fine);
    let before = load.accepted();
    until("submissions after the storm", Duration::from_secs(60), || load.accepted() > before + 10);
    let noted = load.end();
    for line in factory.house.logs().lines().filter(|line| line.contains("a request failed")).take(20) {
        println!("{line}");
    }
    println!("connections that broke: {}", proxy.broken());
    let accepted = noted.accepted.len();
    assert!(accepted > 10 && proxy.broken() > 0, "no bad weather, or nobody noticed: {accepted} accepted");
    factory.finish(&noted);
    drop(proxy);
    runtime.block_on(postgres::drop_database(&name));
}
