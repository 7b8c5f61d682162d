//! What holds between the parts of this module and a real server.

use futures_util::StreamExt;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};

use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};

use super::{
    Catalog,
    catalog::MethodError,
    example,
    fake::{Fake, Reflection, pool},
    from_json, invoke, invoke_streaming, reflect, to_json,
};

async fn channel(fake: &Fake) -> Channel {
    let endpoint = Endpoint::new(format!("http://{}", fake.address())).unwrap();
    endpoint.connect().await.unwrap()
}

fn request_descriptor() -> MessageDescriptor {
    pool().get_message_by_name("shop.OrderRequest").unwrap()
}

async fn reflected(reflection: Reflection) -> (Fake, Catalog) {
    let fake = Fake::start(reflection).await.unwrap();
    let catalog = reflect(channel(&fake).await).await.unwrap();
    (fake, catalog)
}

fn request(json: &str) -> DynamicMessage {
    from_json(&request_descriptor(), json).unwrap()
}

#[tokio::test]
async fn reflection_follows_imports_and_knows_googles_own() {
    let (_fake, catalog) = reflected(Reflection::V1).await;
    let services: Vec<_> = catalog
        .services()
        .map(|service| service.full_name().to_owned())
        .collect();
    assert_eq!(services, ["shop.Archive", "shop.Shop"]);
    let input = catalog.method("Shop.Order").unwrap().input();
    let json = r#"{"price":{"currency":"EUR","units":"3"},"at":"2030-01-01T12:00:00Z"}"#;
    assert_eq!(to_json(&from_json(&input, json).unwrap()).unwrap(), json);
}

#[tokio::test]
async fn a_server_of_v1alpha_alone_is_understood() {
    let (_fake, catalog) = reflected(Reflection::V1AlphaOnly).await;
    assert!(catalog.method("Track").is_ok());
}

#[tokio::test]
async fn a_server_without_reflection_is_unimplemented() {
    let fake = Fake::start(Reflection::None).await.unwrap();
    let status = reflect(channel(&fake).await).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_descriptor_set_is_complete() {
    let (_fake, catalog) = reflected(Reflection::V1).await;
    let pool = prost_reflect::DescriptorPool::decode(catalog.descriptor_set()).unwrap();
    assert!(pool.get_message_by_name("money.Money").is_some());
}

#[tokio::test]
async fn methods_are_found_by_every_form_of_their_name() {
    let (_fake, catalog) = reflected(Reflection::V1).await;
    for asked in [
        "Shop.Order",
        "shop.Shop.Order",
        "shop.Shop/Order",
        "/shop.Shop/Order",
        "Shop/Order",
    ] {
        let method = catalog.method(asked).unwrap();
        assert_eq!(method.full_name(), "shop.Shop.Order", "{asked}");
    }
    assert_eq!(catalog.method("Find").unwrap().full_name(), "shop.Archive.Find");
}

#[tokio::test]
async fn a_name_of_two_methods_lists_both_and_an_unknown_one_lists_all() {
    let (_fake, catalog) = reflected(Reflection::V1).await;
    let ambiguous = catalog.method("Order").unwrap_err();
    assert_eq!(
        ambiguous.to_string(),
        "several methods that fit `Order`: shop.Archive/Order, shop.Shop/Order"
    );
    for asked in ["Oder", "hop.Order", "Shop.", "", "/", "shop.Shop"] {
        let unknown = catalog.method(asked).unwrap_err();
        assert!(matches!(unknown, MethodError::Unknown { .. }), "{asked}");
        assert!(unknown.to_string().contains("shop.Shop/Track"), "{unknown}");
    }
}

#[tokio::test]
async fn all_four_kinds_of_method_can_be_called() {
    let (fake, catalog) = reflected(Reflection::V1).await;
    let channel = channel(&fake).await;
    let two = || tokio_stream::iter([request(r#"{"name":"Ada"}"#), request(r#"{"name":"Bo"}"#)]);

    for (name, expected) in [
        ("Shop.Order", r#"{"message":"Hello Ada","count":1}"#),
        ("Total", r#"{"message":"Hello Ada Bo","count":2}"#),
    ] {
        let method = catalog.method(name).unwrap();
        let reply = invoke(channel.clone(), &method, Request::new(two()))
            .await
            .unwrap();
        assert_eq!(to_json(reply.get_ref()).unwrap(), expected, "{name}");
    }
    for (name, expected) in [("Track", 3), ("Chat", 2)] {
        let method = catalog.method(name).unwrap();
        let replies = invoke_streaming(channel.clone(), &method, Request::new(two()))
            .await
            .unwrap();
        assert_eq!(replies.into_inner().count().await, expected, "{name}");
    }
}

#[tokio::test]
async fn the_servers_error_arrives() {
    let (fake, catalog) = reflected(Reflection::V1).await;
    let method = catalog.method("Shop.Order").unwrap();
    let request = Request::new(tokio_stream::once(request(r#"{"name":"nobody"}"#)));
    let status = invoke(channel(&fake).await, &method, request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "there is nobody")
    );
}

#[test]
fn a_wrong_field_or_value_says_where_it_is_and_what_there_is() {
    let descriptor = request_descriptor();
    for (json, expected) in [
        (
            r#"{"nam":"Ada"}"#,
            "no field `nam`; the fields of `shop.OrderRequest` are: name, size, price, extras, byShop, at, streetName, \
             locker, gift, photo",
        ),
        (
            r#"{"gift":{"extras":[{"unit":1}]}}"#,
            "no field `gift.extras.unit`; the fields of `money.Money` are: currency, units",
        ),
        (
            r#"{"byShop":{"a":{"x":1}}}"#,
            "no field `byShop.a.x`; the fields of `money.Money` are: currency, units",
        ),
        (
            r#"{"size":"HUGE"}"#,
            "no value `HUGE` for `size`; the values of `shop.Size` are: SIZE_UNSPECIFIED, SIZE_SMALL, SIZE_LARGE",
        ),
    ] {
        assert_eq!(from_json(&descriptor, json).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_no_json_of_the_message_is_an_error_and_no_panic() {
    let descriptor = request_descriptor();
    let deep = "[".repeat(100_000);
    let gifts = format!("{}{}", r#"{"gift":"#.repeat(10_000), "}".repeat(10_000));
    for json in [
        "",
        "{",
        "{} {}",
        "null",
        "[]",
        "7",
        r#"{"locker":"x"}"#,
        r#"{"locker":1e400}"#,
        r#"{"name":7}"#,
        r#"{"photo":"*"}"#,
        r#"{"at":"noon"}"#,
        r#"{"streetName":"a","locker":1}"#,
        &deep,
        &gifts,
    ] {
        let shown: String = json.chars().take(40).collect();
        assert!(from_json(&descriptor, json).is_err(), "{shown}");
    }
}

#[test]
fn names_of_the_proto_file_and_of_json_are_both_read() {
    let message = request(r#"{"street_name":"a","by_shop":{}}"#);
    assert_eq!(to_json(&message).unwrap(), r#"{"streetName":"a"}"#);
}

#[test]
fn an_example_fills_every_field_and_can_be_read_back() {
    let example = example(&request_descriptor());
    let json = to_json(&example).unwrap();
    assert!(
        json.starts_with(r#"{"name":"Ada","size":"SIZE_SMALL","price":{"currency":"currency","units":"1"}"#),
        "{json}"
    );
    assert!(
        json.contains(r#""streetName""#) && !json.contains(r#""locker""#),
        "{json}"
    );
    assert_eq!(from_json(&example.descriptor(), &json).unwrap(), example);
}

#[test]
fn all_test_protos_have_an_example() {
    for message in pool().all_messages() {
        let json = to_json(&example(&message)).unwrap();
        assert!(from_json(&message, &json).is_ok(), "{}", message.full_name());
    }
}
