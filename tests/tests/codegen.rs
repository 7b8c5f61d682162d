//! Code that `micro_build` generated compiles, in every way of taking it in, and says what the protos say.

use micro::{prost::Message, prost_types::Timestamp};
use tonic::{Request, Response, Status};

/// Every package in a module of its own path.
mod all {
    micro::include_proto!();
}

/// Packages taken in one by one stand where their names say.
mod shop {
    pub(crate) mod common {
        pub(crate) mod v1 {
            micro::include_proto!("shop.common.v1");
        }
    }
    pub(crate) mod orders {
        pub(crate) mod v1 {
            micro::include_proto!("shop.orders.v1");
        }
    }
}

/// Files without a package.
mod plain {
    micro::include_proto!("_");
}

use all::shop::{
    common::v1::{
        Currency, Money,
        bank_server::{Bank, BankServer},
    },
    orders::v1::{Kind, Order, order::Payment, orders_client::OrdersClient},
};

struct Exchange;

#[tonic::async_trait]
impl Bank for Exchange {
    async fn convert(&self, request: Request<Money>) -> Result<Response<Money>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

#[test]
fn messages_of_several_packages_work_together() {
    let price = Money {
        currency: Currency::Eur.into(),
        units: 7,
    };
    let order = Order {
        id: "1".into(),
        at: Some(Timestamp { seconds: 1, nanos: 0 }),
        prices: [("a".to_owned(), price)].into(),
        payment: Some(Payment::Cash(price)),
        r#type: Kind::Gift.into(),
        ..Order::default()
    };
    assert_eq!(Order::decode(order.encode_to_vec().as_slice()).unwrap(), order);
}

#[test]
fn packages_taken_in_one_by_one_find_each_other() {
    let order = shop::orders::v1::Order {
        payment: Some(shop::orders::v1::order::Payment::Cash(
            shop::common::v1::Money::default(),
        )),
        ..Default::default()
    };
    assert!(order.payment.is_some());
}

#[test]
fn services_of_imported_files_have_servers_and_clients() {
    fn named<S: tonic::server::NamedService>(_: &S) -> &'static str {
        S::NAME
    }
    assert_eq!(named(&BankServer::new(Exchange)), "shop.common.v1.Bank");
    assert!(std::any::type_name::<OrdersClient<()>>().contains("orders::v1"));
    assert!(
        plain::echo_client::EchoClient::<tonic::transport::Channel>::with_origin as *const () as usize != 0
    );
}

#[test]
fn a_package_brings_the_descriptors_of_what_it_imports() {
    let files = |set: &[u8]| {
        let set = micro::prost_types::FileDescriptorSet::decode(set).unwrap();
        set.file
            .into_iter()
            .map(|file| file.name.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        files(all::shop::common::v1::FILE_DESCRIPTOR_SET),
        ["shop/common/v1/money.proto"]
    );
    assert!(files(shop::orders::v1::FILE_DESCRIPTOR_SET).contains(&"google/protobuf/any.proto".to_owned()));
    assert!(!files(shop::orders::v1::FILE_DESCRIPTOR_SET).contains(&"plain.proto".to_owned()));
    assert!(files(all::FILE_DESCRIPTOR_SET).contains(&"plain.proto".to_owned()));
}
